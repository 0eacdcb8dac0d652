"""Scores of masks as they are written, against PySODMetrics on the same 8-bit files."""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from saldiag.core.measurement import MaskScores
from saldiag.recipes.mask_scores import MaskScorer, resize_mask

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import py_sod_metrics


def examples() -> list[tuple[Any, Any]]:
    """Masks uint8 and ground truths bool, of several odd sizes; one truth is empty."""
    random = np.random.default_rng(3)
    made = []
    for index, (height, width) in enumerate([(37, 53), (61, 40), (33, 33)]):
        truth = np.zeros((height, width), bool)
        if index:
            truth[5 : 10 + 8 * index, 7 : 12 + 6 * index] = True
        soft = 0.6 * np.roll(truth, (2, -3), (0, 1)) + 0.3 * random.random((height, width))
        made.append((np.round(soft * 255).astype(np.uint8), truth))
    return made


def pysod(name: str, normalize: bool, **options: Any) -> dict[str, Any]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        evaluator = getattr(py_sod_metrics, name)(**options)
        for mask, truth in examples():
            given = (mask, truth * np.uint8(255)) if normalize else (mask / 255, truth)
            evaluator.step(*given, normalize=normalize)
        found: dict[str, Any] = evaluator.get_results()
    return found


@pytest.mark.parametrize("stretched", [False, True])
def test_the_means_are_those_of_pysodmetrics(stretched: bool) -> None:
    scorer = MaskScorer(stretched=stretched)
    for mask, truth in examples():
        scorer.add(mask, truth)
    over = scorer.over("three")
    assert over is not None
    f_beta = pysod("Fmeasure", stretched, beta=0.3)["fm"]
    e_measure = pysod("Emeasure", stretched)["em"]
    theirs = {
        "mae": pysod("MAE", stretched)["mae"],
        "max_f_beta": f_beta["curve"].max(),
        "mean_f_beta": f_beta["curve"].mean(),
        "adaptive_f_beta": f_beta["adp"],
        "weighted_f_beta": pysod("WeightedFmeasure", stretched, beta=0.3)["wfm"],
        "s_measure": pysod("Smeasure", stretched)["sm"],
        "mean_e_measure": e_measure["curve"].mean(),
        "max_e_measure": e_measure["curve"].max(),
        "adaptive_e_measure": e_measure["adp"],
    }
    ours = {field.name: getattr(over.scores, field.name) for field in fields(MaskScores)}
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert (over.dataset, over.pictures) == ("three", 3)


def test_scores_of_a_picture_come_from_its_own_curve() -> None:
    scorer = MaskScorer()
    mask, truth = examples()[1]
    alone = scorer.add(mask, truth)
    over = scorer.over("one")
    assert over is not None
    assert over.scores == alone
    assert MaskScorer().over("none") is None


def test_resizing_keeps_range_and_size() -> None:
    mask = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    large = resize_mask(mask, (33, 7))
    assert large.shape == (33, 7)
    assert large.dtype == np.uint8
    assert {large.min(), large.max()} == {0, 255}
    assert resize_mask(np.full((8, 8), 0.5, np.float32), (3, 5)).tolist() == [[128] * 5] * 3
