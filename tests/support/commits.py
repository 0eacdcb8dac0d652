"""The commit that is tested: what chooses the samples of large suites."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit() -> str:
    """The hash of the checkout's commit; a fixed text outside of a repository."""
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "no commit"
