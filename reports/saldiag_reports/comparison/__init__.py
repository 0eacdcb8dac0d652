"""Comparisons of runs: as text, as a page, and as JSON."""
