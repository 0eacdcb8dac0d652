"""Several runs side by side, as text, as a page and as JSON."""
