"""A finding with what a test does not care about filled in."""

from __future__ import annotations

from typing import Any

from saldiag.core.findings.finding import Finding


def finding(
    rule: str = "SD101", *layers: str, severity: Any = "error", **fields: object
) -> Finding:
    """A finding of ``rule`` at ``layers``; ``fields`` are other fields of ``Finding``."""
    known: dict[str, Any] = {
        "name": "single-channel-softmax",
        "message": "It is wrong.",
        "fix": "Change it.",
    }
    return Finding(rule, severity=severity, layers=layers, **(known | fields))
