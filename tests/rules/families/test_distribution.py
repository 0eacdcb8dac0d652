"""What the rules on several replicas are silent about, and what they call it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from saldiag.core.measurement import Distribution, LossTerm, Measurements, StateSpread
from tests.faults import sd003_items_shared_by_replicas as shared
from tests.support.judging import run
from tests.support.measurements import distribution, loss_term


def codes(measured: Distribution, *rules: str) -> list[str]:
    diagnosis = run(Measurements.of(measured), *(rules or ("SD0",)))
    return [finding.rule for finding in diagnosis.findings]


def terms(*weights: float, **fields) -> tuple[LossTerm, ...]:
    return tuple(loss_term(weight, **fields) for weight in weights)


def test_one_device_is_clear() -> None:
    diagnosis = run(Measurements.of(Distribution()), "SD001", "SD003", "SD007", "SD014")
    assert diagnosis.findings == diagnosis.skipped == ()


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (distribution(terms=terms(2.0)), ["SD001"]),
        (distribution(terms=terms(1.99)), ["SD001"]),
        (distribution(terms=terms(1.9)), []),
        # A weight of 2 on two replicas; the mean alone leaves no doubt.
        (distribution(terms=terms(2.0, factor=0.125, weighted=True)), []),
        (distribution(terms=terms(2.0, factor=0.125)), ["SD001"]),
        (distribution(terms=terms(0.5, factor=0.5, weighted=True)), []),
        (distribution(terms=terms(0.5, factor=0.5)), ["SD002"]),
        # Two terms of which one only has the factor: it is its weight.
        (distribution(terms=terms(1.0, 2.0, factor=0.1)), []),
        (distribution(terms=terms(2.0, 2.0, factor=0.1)), ["SD001"]),
        (distribution(terms=(loss_term(2.0), loss_term(1.0, factor=0.1))), ["SD001"]),
        # Made up for in the gradients.
        (distribution(terms=terms(2.0), gradient_factor=0.5), []),
        (distribution(terms=terms(1.0, factor=0.5), gradient_factor=0.5), ["SD002"]),
        (distribution(terms=terms(2.0), gradient_factor=0.7), ["SD001"]),
        (distribution(terms=terms(0.5, factor=0.1), sums_in_step=1), []),
        # A sum of two values per item looks like a mean over each of two replicas.
        (distribution(terms=(LossTerm(2.0, 2.0, averaged=False, factor=0.1),)), []),
        (distribution(terms=(LossTerm(4.0, 2.0, averaged=False, factor=0.1),)), ["SD001"]),
        (distribution(terms=(LossTerm(3.0, 3.0, averaged=False, factor=0.1),)), []),
    ],
)
def test_the_scale_of_the_loss(measured: Distribution, expected: list[str]) -> None:
    assert codes(measured, "SD001", "SD002") == expected


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"terms": (), "terms_missing": "the step runs eagerly"}, "the step runs eagerly"),
        ({"items": np.ones((4, 2))}, "one item per replica"),
        ({"terms": terms(float("nan"))}, "scale of the loss is unknown"),
    ],
)
def test_an_unknown_scale_is_no_pass(fields, reason: str) -> None:
    diagnosis = run(Measurements.of(distribution(**fields)), "SD001", "SD002")
    assert diagnosis.findings == ()
    assert [reason in skipped.reason for skipped in diagnosis.skipped] == [True, True]


@pytest.mark.parametrize(("optimizer", "severity"), [("SGD", "error"), ("Adam", "warning")])
def test_the_scale_matters_less_where_the_step_does_not_depend_on_it(optimizer, severity) -> None:
    measured = Measurements.of(distribution(terms=terms(2.0), optimizer=optimizer))
    assert [f.severity for f in run(measured, "SD001").findings] == [severity]


def test_shared_items_explain_the_scale() -> None:
    diagnosis = run(shared.broken(), "SD0")
    explained = {finding.rule: finding.explained_by for finding in diagnosis.findings}
    assert explained == {"SD003": None, "SD001": "SD003"}


@pytest.mark.parametrize(
    ("prints", "reason"),
    [
        (np.full((4, 2, 2), np.nan), "unknown"),
        (np.ones((4, 2, 2)), "do not change"),
        (np.ones((1, 2, 2)), "unknown"),
    ],
)
def test_equal_inputs_need_inputs_that_change(prints, reason: str) -> None:
    (skipped,) = run(Measurements.of(distribution(fingerprints=prints)), "SD003").skipped
    assert reason in skipped.reason


def test_two_of_four_replicas_share() -> None:
    prints = np.arange(32.0).reshape(4, 4, 2)
    prints[:, 3] = prints[:, 1]
    (finding,) = run(Measurements.of(distribution(4, fingerprints=prints)), "SD003").findings
    assert finding.message.startswith("2 of 4 replicas read the same 16 items")


def test_weights_outrank_statistics() -> None:
    spread = (
        StateSpread("head/kernel", "weight", 0.2),
        StateSpread("norm", "statistic", float("inf")),
    )
    found = run(Measurements.of(distribution(spread=spread)), "SD004").findings
    assert [(f.severity, f.layers) for f in found] == [("error", ()), ("warning", ("norm",))]


def test_statistics_of_few_items_are_apart_by_chance() -> None:
    row = StateSpread("norm", "statistic", 2.5, noise=0.6)
    assert codes(distribution(spread=(row,)), "SD004") == []
    assert codes(distribution(spread=(replace(row, noise=0.1),)), "SD004") == ["SD004"]


def test_a_clipping_of_the_sum_is_no_clipping_per_replica() -> None:
    place = loss_term(1.0).source
    clipped = {"clip_source": place, "gradient_factor": 0.3}
    assert codes(distribution(**clipped), "SD005") == ["SD005"]
    assert codes(distribution(**clipped, sums_in_step=1), "SD005") == []
    assert codes(distribution(clip_source=place), "SD005") == []


def test_uneven_shards_matter_where_each_replica_averages() -> None:
    items = np.tile([16.0, 8.0], (4, 1))
    averaged = terms(1.0, factor=0.5)
    assert codes(distribution(items=items), "SD009") == []
    assert codes(distribution(items=items, terms=averaged), "SD009") == ["SD009"]
    once = np.vstack([np.full((3, 2), 16.0), [[16.0, 1.0]]])
    assert codes(distribution(items=once, terms=averaged), "SD009") == []


def test_the_rate_of_adaptive_optimizers_grows_with_the_root() -> None:
    fields = {"batch_scaled": loss_term(1.0).source, "learning_rate": 0.001}
    (adam,) = run(Measurements.of(distribution(4, optimizer="Adam", **fields)), "SD012").findings
    (sgd,) = run(Measurements.of(distribution(4, **fields)), "SD012").findings
    assert adam.fix.startswith("learning_rate=0.002")
    assert sgd.fix.startswith("learning_rate=0.004")


@pytest.mark.parametrize(("deviation", "count"), [(0.01, 0), (0.2, 1)])
def test_the_weight_is_judged_by_the_deviation_that_is_set(deviation, count):
    from saldiag.rules.distribution._weights import terms_scaled_by

    measured = distribution(terms=(LossTerm(2.2, 1.0, averaged=True),))
    assert len(terms_scaled_by(measured, 2, deviation)) == count
