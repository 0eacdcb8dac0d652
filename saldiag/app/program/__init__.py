"""``saldiag run``: a user's own program, diagnosed while it runs."""
