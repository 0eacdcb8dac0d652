"""Renderers draw what was measured and judged; none decides anything."""
