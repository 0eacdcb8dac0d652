"""The reason why an edit cannot be applied."""

from __future__ import annotations


class Uncertain(Exception):  # noqa: N818 - an outcome, not an error
    """It is uncertain what to change in the file; the message is the reason."""
