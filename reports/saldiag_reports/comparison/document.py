"""A comparison as JSON for programs, described by ``comparison.schema.json``."""

from __future__ import annotations

from saldiag.core.comparison import Comparison
from saldiag.core.comparison.document import comparison_document
from saldiag.core.files.jsonio import dumps


def render_comparison_json(comparison: Comparison, everything: bool = False) -> str:
    """Strict JSON with a final newline; the same runs give the same text.

    Args:
        comparison: the runs to show.
        everything: whether to include rows and files that are the same in all runs. All findings
            are included in any case.
    """
    return dumps(comparison_document(comparison, everything)) + "\n"
