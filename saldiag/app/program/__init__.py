"""``saldiag run`` and ``saldiag.watch``: trainings of the user's program, diagnosed as they run."""
