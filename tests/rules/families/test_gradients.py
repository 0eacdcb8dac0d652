"""Gradient rules at their edges: what must not alarm, and how findings are worded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from saldiag.core.measurement import (
    GradientFlow,
    GradientHistory,
    Measurement,
    Wiring,
)  # fmt: skip
from saldiag.rules.shared.gradient_cut import no_gradient
from tests.support.judging import found, one, run, skipped
from tests.support.measurements import (
    CALLS,
    STEPS,
    VARIABLES,
    call,
    flow,
    flow_row,
    gradients,
    healthy,
    overfit,
    rows_with,
    stuck,
    wiring,
)  # fmt: skip

# SD201


def dying(into: float | None, norms: dict[str, float | None], path: str = "head") -> GradientFlow:
    rows = rows_with(flow().rows, path, output_gradient=0.5, input_gradient=into)
    return flow(norms, rows=rows)


HEAD_FED: dict[str, float | None] = {
    **dict.fromkeys(VARIABLES, 0.0),
    "head/kernel": 0.3,
    "head/bias": 0.3,
}
NO_HISTORY = gradients(dict.fromkeys(VARIABLES, 0.0))


@pytest.mark.parametrize("into", [0.0, 3e-8])
def test_a_cut_up_to_rounding(into: float) -> None:
    rest: dict[str, float | None] = dict.fromkeys(VARIABLES, into)
    finding = one("SD201", dying(into, rest), gradients(dict.fromkeys(VARIABLES, into)))
    assert finding.layers == ("head",)
    assert finding.evidence["starving_layers"] == ("encoder/conv", "encoder/norm", "head")
    assert no_gradient(dying(into, rest), wiring())


def test_layers_before_a_cut_are_no_separate_cuts() -> None:
    """Two softmaxes: the first gets nothing but the second's rounding, and rounds that again."""
    rest: dict[str, float | None] = dict.fromkeys(VARIABLES, 1e-17)
    rows = rows_with(flow().rows, "head", output_gradient=2e-10, input_gradient=2e-17)
    rows = rows_with(rows, "output", output_gradient=4e-3, input_gradient=2e-10)
    finding = one("SD201", flow(rest, rows=rows), gradients(dict.fromkeys(VARIABLES, 1e-17)))
    assert finding.layers == ("output",)
    assert len(finding.evidence["starving_layers"]) == 3


def test_zero_weights_that_the_next_step_lifts_are_no_cut() -> None:
    assert found("SD201", dying(0.0, HEAD_FED), NO_HISTORY) == []
    assert not no_gradient(dying(0.0, HEAD_FED), wiring())


def test_no_path_is_a_cut_even_where_the_layer_itself_learns() -> None:
    finding = one("SD201", dying(None, HEAD_FED), NO_HISTORY)
    assert finding.evidence["starving_layers"] == ("encoder/conv", "encoder/norm")
    assert "does not exist (no path" in finding.message


def test_a_frozen_encoder_does_not_starve() -> None:
    head_only: dict[str, float | None] = {"head/kernel": 0.3, "head/bias": 0.3}
    assert found("SD201", dying(None, head_only)) == []


def test_whoever_got_a_gradient_later_does_not_starve() -> None:
    assert found("SD201", dying(None, HEAD_FED), gradients(dict.fromkeys(VARIABLES, 0.1))) == []


def test_a_penalty_does_not_hide_the_cut() -> None:
    """L2 gives every kernel a gradient; that of the data still ends at the head's input."""
    rows = tuple(
        flow_row(c.path, c.kind, *((0.5, None) if c.path == "head" else (None, None)))
        if c.path != "output" else flow_row("output", "Activation", 0.5, 0.5)
        for c in CALLS if c.leaf
    )  # fmt: skip
    penalty = flow(dict.fromkeys(VARIABLES, 0.01), rows=rows)
    steps = gradients(dict.fromkeys(VARIABLES, 0.01))
    assert one("SD201", penalty, steps).layers == ("head",)


def test_a_path_around_the_cut_makes_it_a_warning() -> None:
    calls = (
        call("query", "Dense", "", parameters=9),
        call("value", "Dense", "", parameters=9),
        call("softmax", "Softmax", "query"),
        call("mix", "Dense", "softmax", "value", parameters=9),
    )
    rows = (
        flow_row("query", "Dense", 0.0, 0.0), flow_row("value", "Dense", 0.4, 0.4),
        flow_row("softmax", "Softmax", 0.4, 0.0), flow_row("mix", "Dense", 0.4, 0.4),
    )  # fmt: skip
    norms: dict[str, float | None] = {"query/kernel": 0.0, "value/kernel": 0.4, "mix/kernel": 0.4}
    finding = one("SD201", wiring(*calls), flow(norms, rows=rows), gradients({"mix/kernel": 0.1}))
    assert (finding.severity, finding.layers) == ("warning", ("softmax",))
    assert finding.evidence["layers_fed_around_it"] == ("value",)


def test_without_the_wiring_calls_are_a_chain() -> None:
    measured = healthy(dying(None, HEAD_FED), NO_HISTORY).without(Wiring, "not traced")
    (finding,) = run(measured, "SD201").findings
    assert finding.layers == ("head",)


def test_a_loss_without_gradient_is_blamed_itself() -> None:
    rows = tuple(replace(r, output_gradient=None, input_gradient=None) for r in flow().rows)
    nothing: dict[str, float | None] = dict.fromkeys(VARIABLES)
    finding = one("SD201", flow(nothing, rows=rows), NO_HISTORY)
    assert "gives no gradient to any output" in finding.message
    perfect = flow(nothing, rows=rows, loss=0.0)
    assert found("SD201", perfect, NO_HISTORY) == [], "at a loss of 0 there is nothing to learn"


def test_the_history_alone_shows_which_layers_get_no_gradient() -> None:
    norms = {path: 0.0 if path.startswith("encoder") else 0.1 for path in VARIABLES}
    measured = healthy(gradients(norms)).without(GradientFlow, "not measured")
    (finding,) = run(measured, "SD201").findings
    assert finding.layers == ("encoder/conv", "encoder/norm")
    assert run(healthy().without(GradientFlow, "x"), "SD201").findings == ()


@pytest.mark.parametrize("code", ["SD201", "SD202", "SD203", "SD204"])
def test_without_any_gradient_nothing_is_judged(code: str) -> None:
    measured = healthy().without(GradientFlow, "no loss").without(GradientHistory, "no steps")
    (entry,) = run(measured, code).skipped
    assert entry.reason == "no loss"


def test_gradients_inside_a_loop_are_not_judged() -> None:
    rows = rows_with(flow().rows, "head", input_gradient=None, skipped="inside a loop")
    assert found("SD201", flow(HEAD_FED, rows=rows), NO_HISTORY) == []


# SD202, SD203, SD204


def chain(*norms: float) -> tuple[Measurement, ...]:
    names = [f"d{i}" for i in range(len(norms))]
    calls = [call(n, "Dense", names[i - 1] if i else "", parameters=9) for i, n in enumerate(names)]
    rows = tuple(flow_row(n, "Dense", v, v) for n, v in zip(names, norms, strict=True))
    kernels = {f"{n}/kernel": v for n, v in zip(names, norms, strict=True)}
    return wiring(*calls), flow(dict(kernels), rows=rows), gradients(kernels), stuck()


def test_one_small_layer_is_no_trend() -> None:
    assert found("SD202", *chain(1e-9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)) == []
    assert found("SD202", *chain(0.1, 0.1, 1e-9, 0.1, 0.1, 0.1, 0.1, 0.1)) == []


def test_zeros_are_a_cut_and_no_trend() -> None:
    falling = [10.0**-k for k in range(9, -1, -1)]
    assert one("SD202", *chain(0.0, *falling)).evidence["layers"] == 10


def test_a_model_that_learns_is_not_blamed_for_its_profile() -> None:
    falling = chain(*(10.0**-k for k in range(9, -1, -1)))
    assert one("SD202", *falling).severity == "error"
    assert found("SD202", *falling, overfit()) == []
    rising = chain(*(10.0**k for k in range(9, -1, -1)))
    assert one("SD203", *rising).severity == "error"
    assert found("SD203", *rising, overfit()) == []


def test_the_history_alone_shows_the_profile() -> None:
    measured = healthy(*chain(*(10.0**-k for k in range(9, -1, -1)))).without(GradientFlow, "no")
    assert [f.rule for f in run(measured, "SD202").findings] == ["SD202"]


def test_few_layers_make_no_trend() -> None:
    assert "needs at least 6 layers" in skipped("SD202")


def test_growth_counts_only_where_the_loss_grows_too() -> None:
    growing = np.exp(np.linspace(0, 12, STEPS))[:, None] * np.ones(len(VARIABLES))
    rising, falling = np.linspace(1, 9, STEPS), np.linspace(9, 1, STEPS)
    assert "a factor of" in one("SD203", gradients(norm=growing, loss=rising)).message
    assert found("SD203", gradients(norm=growing, loss=falling)) == []
    assert found("SD203", gradients(norm=growing, loss=np.full(STEPS, np.nan))) != []


def test_non_finite_gradients_of_one_batch_count_unless_the_loss_is_scaled() -> None:
    bad = tuple(replace(v, nonfinite_share=0.1) for v in flow().variables[:1])
    measured = healthy(flow(), wiring()).without(GradientHistory, "x")
    measured = measured.with_(replace(flow(), variables=bad))
    (finding,) = run(measured, "SD204").findings
    assert finding.layers == ("encoder/conv",)


def test_overflow_at_most_steps_counts_under_loss_scaling_too() -> None:
    share = np.ones((STEPS, len(VARIABLES)))
    history = gradients(nonfinite_share=share, loss_scale=np.full(STEPS, 2.0))
    assert one("SD204", history).evidence["threshold"] == 0.5


# SD205


@pytest.mark.parametrize(("highest", "alarm"), [(5.0, 1), (0.6, 0)])
def test_a_loss_that_exploded_and_fell_partly_is_found(highest: float, alarm: int) -> None:
    kernels = ("encoder/conv/kernel", "encoder/more/kernel", "head/kernel")
    ratio = np.full((STEPS, len(kernels)), 1e-3)
    ratio[:, 0] = 3.0
    loss = np.concatenate([[0.5, highest], np.full(STEPS - 2, 0.3)])
    steps = gradients(dict.fromkeys(kernels, 0.1), update_ratio=ratio)
    assert len(found("SD205", steps, stuck(loss=loss))) == alarm
