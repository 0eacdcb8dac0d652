"""``saldiag run``: runs the user's program, and reports on the models that it trains."""
