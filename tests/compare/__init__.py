"""Programs run by plain Python and under ``saldiag run``, compared bit by bit."""
