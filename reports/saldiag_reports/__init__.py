"""Renderers: they show what was measured and judged, and judge nothing themselves."""
