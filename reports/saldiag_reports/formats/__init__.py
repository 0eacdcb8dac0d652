"""One module for each format that a diagnosis is written in."""
