"""Assertions about models. The model is left as it was, whatever comes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saldiag.app.api import Diagnosis
    from saldiag.core.findings.finding import Finding, Severity

MAX_LISTED_FINDINGS = 5
"""Findings of which a failure tells all; the others are counted."""

GRADIENT_RULES = ("SD2", "SD401", "SD402")
"""Rules on gradients, by the start of their codes."""

SLOW_LEARNING_RULE = "SD803"
"""The rule that tells of a model without a verdict which learning rate would do."""


def assert_learns(
    model: Any,
    batch: Any,
    *,
    steps: int = 200,
    budget: float = 60.0,
    loss: Any = None,
    optimizer: Any = None,
    ignore: str | Sequence[str] = (),
) -> None:
    """The model can memorise one batch.

    Args:
        model: a Keras model, compiled unless ``loss`` is given.
        batch: ``(x, y)`` or ``(x, y, sample_weight)``, all of it one batch.
        steps: training steps at the most.
        budget: seconds at the most.
        loss: what to compile with where the model is not compiled, or in place of its own.
        optimizer: likewise.
        ignore: rules that are not to explain a failure.

    Raises:
        AssertionError: it cannot, or not within ``steps`` and ``budget``.
        SaldiagError: model or data cannot be used.
    """
    __tracebackhide__ = True
    from saldiag.app.api import diagnose

    diagnosis = diagnose(
        model, batch, loss=loss, optimizer=optimizer, steps=steps, budget=budget,
        batch_size=_batch_size(batch), batches=1, ignore=ignore,
    )  # fmt: skip
    if diagnosis.verdict == "learns":
        return
    limits = f" (at most {steps} steps and {budget:g} s{_error_change(diagnosis)})"
    reasons = [
        f for f in diagnosis.findings if f.severity != "info" or f.rule == SLOW_LEARNING_RULE
    ]
    raise AssertionError(_failure_message(diagnosis, reasons, limits))


def _error_change(diagnosis: Diagnosis) -> str:
    """How far the error fell in the overfit test."""
    from saldiag.core.measurement import OverfitHistory
    from saldiag.rules.shared.wording import number

    history = diagnosis.measured.get(OverfitHistory)
    if history is None or not len(history.training_error):
        return ""
    first, last = (number(float(history.training_error[place])) for place in (0, -1))
    return f"; the error went from {first} to {last}"


def assert_gradients_flow(
    model: Any,
    batch: Any,
    *,
    loss: Any = None,
    optimizer: Any = None,
    ignore: str | Sequence[str] = (),
) -> None:
    """Every trainable variable gets a gradient that is finite, and neither dies nor explodes.

    Raises:
        AssertionError: one does not; what cuts the gradient is told first.
        SaldiagError: model or data cannot be used.
    """
    __tracebackhide__ = True
    from saldiag.app.api import diagnose

    diagnosis = diagnose(
        model, batch, loss=loss, optimizer=optimizer, overfit=False,
        batch_size=_batch_size(batch), batches=1, ignore=ignore,
    )  # fmt: skip
    found = [
        f for f in diagnosis.findings if f.rule.startswith(GRADIENT_RULES) and f.severity != "info"
    ]
    if found or diagnosis.verdict == "does_not_learn":
        raise AssertionError(_failure_message(diagnosis, _with_causes(found, diagnosis)))


def assert_no_findings(
    model: Any,
    data: Any,
    ignore: str | Sequence[str] = (),
    severity: Severity = "warning",
    *,
    overfit: bool = True,
    **more: Any,
) -> None:
    """Nothing at or above ``severity`` is found, and the model learns as far as was tested.

    Args:
        model: a Keras model.
        data: whatever ``fit`` takes, as for ``saldiag.diagnose``.
        ignore: rules that do not judge, by code, start of a code or name.
        severity: ``error``, ``warning`` or ``info``.
        overfit: whether to see if a few batches can be memorised.
        more: other arguments of ``saldiag.diagnose``.

    Raises:
        AssertionError: there is a finding; each is told with its place and what to change.
        SaldiagError: model or data cannot be used, or ``ignore`` names what does not exist.
        ValueError: there is no such severity.
    """
    __tracebackhide__ = True
    from saldiag.app.api import diagnose
    from saldiag.core.findings.finding import SEVERITIES, at_least

    if severity not in SEVERITIES:
        raise ValueError(f"severity is {severity!r}, not one of {', '.join(SEVERITIES)}")
    diagnosis = diagnose(model, data, overfit=overfit, ignore=ignore, **more)
    if diagnosis.failed(severity):
        grave = [f for f in diagnosis.findings if at_least(f.severity, severity)]
        raise AssertionError(_failure_message(diagnosis, grave))


def assert_trainable(
    model: Any,
    expected: Mapping[Any, bool] | Iterable[Any] | str | int,
    batch: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = None,
) -> None:
    """What is expected to train is trainable, and with ``batch`` really trains.

    Args:
        model: a Keras model; one that is not built yet needs ``batch``.
        expected: patterns (``"head"``, ``"encoder/*"``) of names or paths of layers or variables,
            or layers themselves, all of which have to train; or a mapping of such to True or
            False, of which the last that fits a variable counts (``{"*": False, "head": True}``);
            or a number: that of the trainable parameters, as ``model.summary()`` has it. A layer
            stands for all that is in it. Statistics, which no gradient trains, are left out.
        batch: ``(x, y)`` or ``(x, y, sample_weight)``: one training step shows which variables
            get a gradient and change. It is taken back.
        loss: what to compile with where the model is not compiled, or in place of its own.
        optimizer: likewise.

    Raises:
        AssertionError: something is trainable that should not be, or the other way round; an
            expectation fits nothing; a variable gets no gradient or does not change.
        SaldiagError: model or data cannot be used.
    """
    __tracebackhide__ = True
    from saldiag.testing.training import trainable_status, unmet_expectations

    status = trainable_status(model, batch, loss, optimizer)
    problems = unmet_expectations(model, status, expected, stepped=batch is not None)
    if problems:
        shown = [f"- {problem}" for problem in problems[:20]]
        more = [f"… and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise AssertionError("\n".join(["what trains is not what is expected:", *shown, *more]))


def _batch_size(batch: Any) -> int | None:
    """How many items a batch of arrays has."""
    import keras

    parts = keras.tree.flatten(batch[0] if isinstance(batch, tuple) else batch)
    shape = getattr(parts[0], "shape", None) if parts else None
    return int(shape[0]) if shape else None


def _with_causes(found: Sequence[Finding], diagnosis: Diagnosis) -> list[Finding]:
    """The findings, and those that explain them; in the order of the diagnosis."""
    wanted, before = {f.rule for f in found}, 0
    if diagnosis.root_cause is not None and not found:
        wanted.add(diagnosis.root_cause.rule)
    while len(wanted) > before:
        before = len(wanted)
        wanted |= {
            f.explained_by for f in diagnosis.findings if f.rule in wanted and f.explained_by
        }
    return [f for f in diagnosis.findings if f.rule in wanted]


def _failure_message(diagnosis: Diagnosis, findings: Sequence[Finding], more: str = "") -> str:
    """What a failure says: the verdict, then each finding with its place and its fix."""
    from saldiag_reports.content.wording import count, headline, plain
    from saldiag_reports.formats.ci import account

    left = len(findings) - MAX_LISTED_FINDINGS
    return "\n\n".join(
        [
            plain(headline(diagnosis.outcome)) + more,
            *(account(finding) for finding in findings[:MAX_LISTED_FINDINGS]),
            *([f"and {count(left, 'finding')} more"] if left > 0 else []),
            *([] if findings else ["No rule found a reason."]),
        ]
    )
