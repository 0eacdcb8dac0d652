"""Suggestions for mistyped names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def suggestion(wrong: str, known: Sequence[str]) -> str:
    """``did you mean X?``, or a list of the known names."""
    if not known:
        return "it has none"
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(wrong.lower(), folded, n=1)
    return f"did you mean {folded[close[0]]}?" if close else f"there are {', '.join(known)}"
