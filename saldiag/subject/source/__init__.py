"""Source lines: which line of the user's code made a layer."""
