"""The pytest plugin: a fixture ``saldiag``, and a marker that configures it.

pytest loads it in every environment with saldiag installed, so it imports only pytest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from saldiag.core.keras_types import KerasModel

MARKER_SETTINGS = ("ignore", "severity")
MARKER_HELP = (
    "saldiag(ignore=[...], severity='warning'): rules to leave out in this test, and the lowest "
    "severity that fails it"
)


class Checks:
    """The assertions of ``saldiag.testing`` with the defaults of the test's markers.

    Attributes:
        ignore: rules to leave out, by code, start of a code or name.
        severity: lowest severity that fails ``assert_no_findings``; None for its default.
    """

    def __init__(self, ignore: tuple[str, ...] = (), severity: str | None = None) -> None:
        self.ignore = ignore
        self.severity = severity

    def assert_learns(self, model: KerasModel, batch: Any, **more: Any) -> None:
        """Assert that the model can memorise one batch."""
        __tracebackhide__ = True
        from saldiag.testing.assertions import assert_learns

        assert_learns(model, batch, **self._with_ignored(more))

    def assert_gradients_flow(self, model: KerasModel, batch: Any, **more: Any) -> None:
        """Assert that every trainable variable gets a finite gradient."""
        __tracebackhide__ = True
        from saldiag.testing.assertions import assert_gradients_flow

        assert_gradients_flow(model, batch, **self._with_ignored(more))

    def assert_trainable(
        self, model: KerasModel, expected: Any, batch: Any = None, **more: Any
    ) -> None:
        """Assert which variables are trainable and, with ``batch``, that a step changes them."""
        __tracebackhide__ = True
        from saldiag.testing.assertions import assert_trainable

        assert_trainable(model, expected, batch, **more)

    def assert_no_findings(self, model: KerasModel, data: Any, **more: Any) -> None:
        """Assert that there are no findings at or above the severity."""
        __tracebackhide__ = True
        from saldiag.testing.assertions import assert_no_findings

        given = {} if self.severity is None else {"severity": self.severity}
        assert_no_findings(model, data, **{**given, **self._with_ignored(more)})

    def diagnose(self, model: KerasModel, data: Any, **more: Any) -> Any:
        """``saldiag.diagnose`` without the rules that the test ignores."""
        from saldiag.app.api import diagnose

        return diagnose(model, data, **self._with_ignored(more))

    def _with_ignored(self, more: Mapping[str, Any]) -> dict[str, Any]:
        from saldiag.core.config import listed

        return {**more, "ignore": (*self.ignore, *listed(more.get("ignore", ())))}


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", MARKER_HELP)


@pytest.fixture
def saldiag(request: pytest.FixtureRequest) -> Checks:
    """Assertions about Keras models; ``@pytest.mark.saldiag`` sets their defaults."""
    from saldiag.core.config import listed

    ignore: list[str] = []
    severity: str | None = None
    for mark in request.node.iter_markers("saldiag"):  # the closest marker comes first
        unknown = sorted(set(mark.kwargs) - set(MARKER_SETTINGS))
        if mark.args or unknown:
            what = unknown[0] if unknown else repr(mark.args[0])
            raise pytest.UsageError(
                f"@pytest.mark.saldiag accepts ignore= and severity=, not {what}"
            )
        ignore += listed(mark.kwargs.get("ignore", ()))
        severity = severity or mark.kwargs.get("severity")
    return Checks(tuple(ignore), severity)
