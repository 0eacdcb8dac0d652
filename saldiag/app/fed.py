"""What ``fit`` is given, read without a trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saldiag.subject.feeding import Feed, feed_of
from saldiag_probes.undisturbed import undisturbed


def read_feed(model: Any, arguments: Mapping[str, Any]) -> Feed:
    """The feed of ``model.fit(**arguments)``; reading draws random numbers, which are put back.

    Raises:
        Exception: whatever the program's data raises when it is read.
    """
    if not model.built:
        return feed_of(arguments)
    with undisturbed(model):
        return feed_of(arguments)
