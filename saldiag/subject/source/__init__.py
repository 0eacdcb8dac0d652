"""Source lines: which line of the user's code created a layer."""
