"""A comparison as JSON, as its schema describes it."""

from __future__ import annotations

from saldiag.core.comparison import Comparison
from saldiag.core.comparison.document import comparison_document
from saldiag.core.files.jsonio import dumps


def render_comparison_json(comparison: Comparison, everything: bool = False) -> str:
    """Strict JSON with a line end; the same runs give the same text.

    Args:
        comparison: the runs, compared.
        everything: whether to include rows and files that are the same in all runs. All findings
            are included either way.
    """
    return dumps(comparison_document(comparison, everything)) + "\n"
