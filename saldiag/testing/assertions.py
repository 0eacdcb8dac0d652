"""Assertions about models. They restore the model, whether they pass or fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from saldiag.core.keras_types import KerasModel

if TYPE_CHECKING:
    from saldiag.app.api import Diagnosis
    from saldiag.core.findings.finding import Finding, Severity

MAX_LISTED_FINDINGS = 5
"""How many findings a failure message describes; the others are counted."""

GRADIENT_FAMILY = "gradients"
"""Family of the rules about gradients."""

GRADIENT_RULES = ("nothing-trainable", "trainable-without-effect")
"""Names of rules in other families whose findings mean that variables get no gradient."""

SLOW_LEARNING_RULE = "learns-slowly"
"""Name of the rule that suggests a learning rate; its info findings explain a failure, too."""


def assert_learns(
    model: KerasModel,
    batch: Any,
    *,
    steps: int = 200,
    budget: float = 60.0,
    loss: Any = None,
    optimizer: Any = None,
    ignore: str | Sequence[str] = (),
) -> None:
    """Assert that the model can memorise one batch.

    Args:
        model: a Keras model, compiled unless ``loss`` is given.
        batch: arrays ``(x, y)`` or ``(x, y, sample_weight)``, used as a single batch.
        steps: maximum number of training steps.
        budget: maximum seconds of training.
        loss: loss to compile with, if the model is not compiled or has another one.
        optimizer: optimizer to compile with, likewise.
        ignore: rules that may not explain a failure.

    Raises:
        AssertionError: it cannot, or not within ``steps`` and ``budget``.
        SaldiagError: the model or the data cannot be used.
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
        f for f in diagnosis.findings if f.severity != "info" or f.name == SLOW_LEARNING_RULE
    ]
    raise AssertionError(_failure_message(diagnosis, reasons, limits))


def _error_change(diagnosis: Diagnosis) -> str:
    """How the error changed in the overfit test, as text; empty if it was not measured."""
    from saldiag.core.measurement import OverfitHistory
    from saldiag.core.wording import number

    history = diagnosis.measured.get(OverfitHistory)
    if history is None or not len(history.training_error):
        return ""
    first, last = (number(float(history.training_error[place])) for place in (0, -1))
    return f"; the error went from {first} to {last}"


def assert_gradients_flow(
    model: KerasModel,
    batch: Any,
    *,
    loss: Any = None,
    optimizer: Any = None,
    ignore: str | Sequence[str] = (),
) -> None:
    """Assert that each trainable variable gets a gradient that is finite and of usable size.

    Args:
        model: a Keras model, compiled unless ``loss`` is given.
        batch: arrays ``(x, y)`` or ``(x, y, sample_weight)``, used as a single batch.
        loss: loss to compile with, if the model is not compiled or has another one.
        optimizer: optimizer to compile with, likewise.
        ignore: rules that may not fail the test.

    Raises:
        AssertionError: a variable does not; the message names what blocks the gradient first.
        SaldiagError: the model or the data cannot be used.
    """
    __tracebackhide__ = True
    from saldiag.app.api import diagnose

    diagnosis = diagnose(
        model, batch, loss=loss, optimizer=optimizer, overfit=False,
        batch_size=_batch_size(batch), batches=1, ignore=ignore,
    )  # fmt: skip
    found = [f for f in diagnosis.findings if _is_about_gradients(f) and f.severity != "info"]
    if found or diagnosis.verdict == "does_not_learn":
        raise AssertionError(_failure_message(diagnosis, _with_causes(found, diagnosis)))


def assert_no_findings(
    model: KerasModel,
    data: Any,
    ignore: str | Sequence[str] = (),
    severity: Severity = "warning",
    *,
    overfit: bool = True,
    **more: Any,
) -> None:
    """Assert that there are no findings at or above ``severity``, and the model can learn.

    Args:
        model: a Keras model.
        data: anything that ``fit`` accepts, as for ``saldiag.diagnose``.
        ignore: rules to leave out, by code, start of a code or name.
        severity: ``error``, ``warning`` or ``info``.
        overfit: whether to test if a few batches can be memorised.
        more: other arguments of ``saldiag.diagnose``.

    Raises:
        AssertionError: there are findings; the message has their source lines and fixes.
        SaldiagError: the model or the data cannot be used, or ``ignore`` names an unknown rule.
        ValueError: there is no such severity.
    """
    __tracebackhide__ = True
    from saldiag.app.api import diagnose
    from saldiag.core.findings.finding import SEVERITIES, at_least

    if severity not in SEVERITIES:
        raise ValueError(f"severity must be one of {', '.join(SEVERITIES)}, not {severity!r}")
    diagnosis = diagnose(model, data, overfit=overfit, ignore=ignore, **more)
    if diagnosis.failed(severity):
        found = [f for f in diagnosis.findings if at_least(f.severity, severity)]
        raise AssertionError(_failure_message(diagnosis, found))


def assert_trainable(
    model: KerasModel,
    expected: Mapping[Any, bool] | Iterable[Any] | str | int,
    batch: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = None,
) -> None:
    """Assert which variables are trainable and, with ``batch``, that a training step changes them.

    Args:
        model: a Keras model; one that is not built yet needs ``batch``.
        expected: what must be trainable. Patterns (``"head"``, ``"encoder/*"``) of names or paths
            of layers or variables, or layer objects; or a mapping of these to True or False, in
            which the last match of a variable counts (``{"*": False, "head": True}``); or the
            number of trainable parameters, as in ``model.summary()``. A layer includes all layers
            in it. Running statistics and seeds, which no gradient trains, are ignored.
        batch: arrays ``(x, y)`` or ``(x, y, sample_weight)``. One training step, which is undone
            afterwards, shows which variables get a gradient and change.
        loss: loss to compile with, if the model is not compiled or has another one.
        optimizer: optimizer to compile with, likewise.

    Raises:
        AssertionError: a variable is trainable but should not be, or the other way round; an
            expectation matches no variable; a variable gets no gradient or does not change.
        SaldiagError: the model or the data cannot be used.
    """
    __tracebackhide__ = True
    from saldiag.testing.training import trainable_status, unmet_expectations

    status = trainable_status(model, batch, loss, optimizer)
    problems = unmet_expectations(model, status, expected, stepped=batch is not None)
    if problems:
        shown = [f"- {problem}" for problem in problems[:20]]
        more = [f"… and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise AssertionError(
            "\n".join(["the trainable variables are not the expected ones:", *shown, *more])
        )


def _is_about_gradients(finding: Finding) -> bool:
    """Whether the finding means that gradients are missing, vanish, explode or are not finite."""
    from saldiag.rules.engine.registry import family_of_code

    return finding.name in GRADIENT_RULES or family_of_code(finding.rule) == GRADIENT_FAMILY


def _batch_size(batch: Any) -> int | None:
    """Number of items in a batch of arrays; None if it is empty."""
    import keras

    parts = keras.tree.flatten(batch[0] if isinstance(batch, tuple) else batch)
    shape = getattr(parts[0], "shape", None) if parts else None
    return int(shape[0]) if shape else None


def _with_causes(found: Sequence[Finding], diagnosis: Diagnosis) -> list[Finding]:
    """The findings and those that explain them, in the order of the diagnosis."""
    rules, before = {f.rule for f in found}, 0
    if diagnosis.root_cause is not None and not found:
        rules.add(diagnosis.root_cause.rule)
    while len(rules) > before:
        before = len(rules)
        rules |= {f.explained_by for f in diagnosis.findings if f.rule in rules and f.explained_by}
    return [f for f in diagnosis.findings if f.rule in rules]


def _failure_message(diagnosis: Diagnosis, findings: Sequence[Finding], more: str = "") -> str:
    """The message of a failure: the verdict, then each finding with its source line and fix."""
    from saldiag.core.wording import counted, plain
    from saldiag_reports.content.wording import verdict_headline
    from saldiag_reports.formats.printed_run import finding_text

    unlisted = len(findings) - MAX_LISTED_FINDINGS
    return "\n\n".join(
        [
            plain(verdict_headline(diagnosis.outcome)) + more,
            *(finding_text(finding) for finding in findings[:MAX_LISTED_FINDINGS]),
            *([f"and {counted(unlisted, 'finding')} more"] if unlisted > 0 else []),
            *([] if findings else ["No rule found a cause."]),
        ]
    )
