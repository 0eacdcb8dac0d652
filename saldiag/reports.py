"""The renderers under their public name: ``from saldiag.reports import render_html``."""

from __future__ import annotations
