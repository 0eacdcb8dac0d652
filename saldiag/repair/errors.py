"""Why there is no edit."""

from __future__ import annotations


class Uncertain(Exception):  # noqa: N818 - an outcome, not an error
    """It is not certain what to change in the file; the message is the reason."""
