"""Addresses of the documentation that documents and reports link to."""

from __future__ import annotations

import os
import re

DOCS_URL: str | None = None
"""Where the documentation is published; None while it has no public address."""
DOCS_URL_VARIABLE = "SALDIAG_DOCS_URL"
"""Environment variable with the address of another copy to use instead."""


def rule_url(code: str) -> str | None:
    """The address of a rule's page; None if the documentation has no address.

    ``code`` comes from a file of a run, and only what has the form of a code becomes an address.
    """
    base = os.environ.get(DOCS_URL_VARIABLE) or DOCS_URL
    if base is None or not re.fullmatch(r"https?://[!-~]+", base):
        return None
    return f"{base.rstrip('/')}/rules/{code}/" if re.fullmatch(r"SD[0-9]{3}", code) else None
