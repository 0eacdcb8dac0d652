"""One intervention a file; found by their place."""
