"""Each fault of the case alone is found by its rule, and all together by the head's first."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from saldiag.core.findings.diagnosis import Diagnosis

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]
SIZE = 64

EXPECTED = {
    "softmax_head": "SD101",
    "identical_branches": "SD104",
    "late_strides": "SD105",
    "random_expand": "SD403",
    "shadowed_trainable": "SD404",
    "relu_for_relu6": "SD105",
    "float32_islands": "SD503",
    "silenced_warnings": "SD901",
}


def diagnosed(faults: tuple[str, ...], weights: Any, precision: str = "float32") -> Diagnosis:
    """What is said of the case with these faults, from one batch and no training step."""
    import keras

    from saldiag.app.examine.in_memory import examine_model
    from saldiag.app.loading.subject import Subject
    from saldiag.app.session.judging import judge
    from saldiag.core.files.fingerprints import FilesSeen
    from saldiag.quicksal.as_reported import quicksal_as_reported
    from saldiag.quicksal.pretrained.origins import weight_origins
    from saldiag.recipes.training import compile_model
    from saldiag.selftest.program import mask_data
    from saldiag.subject.program.warning_log import recording_warnings
    from saldiag.subject.source.layer_sources import recording_sources

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    try:
        with warnings.catch_warnings(), recording_warnings() as recorder:
            warnings.filterwarnings("ignore", "You are using a softmax over axis", UserWarning)
            with recording_sources(FilesSeen()) as lines:
                model = quicksal_as_reported(faults, SIZE, weights=weights, seed=0)
            compile_model(model, loss="mae", learning_rate=1e-3)
            subject = Subject(
                model, lines.by_id(), weight_origins(model), expected_range=(-1.0, 1.0)
            )
            measured = examine_model(subject, [mask_data(0, 4, SIZE)], max_steps=0)
    finally:
        keras.config.set_dtype_policy("float32")
    return judge(measured.with_(recorder.warning_log()))


@pytest.mark.parametrize("fault", EXPECTED)
def test_each_switch_alone_is_the_root_cause(fault: str, pretrained: Any) -> None:
    half = "mixed_float16" if fault == "float32_islands" else "float32"
    diagnosis = diagnosed((fault,), pretrained, half)
    told = [(f.rule, f.severity) for f in diagnosis.findings]
    assert diagnosis.root_cause is not None
    assert diagnosis.root_cause.rule == EXPECTED[fault], told
    assert diagnosis.root_cause.source is not None


def test_without_faults_there_are_no_findings(pretrained: Any) -> None:
    assert [f.message for f in diagnosed((), pretrained).findings if f.severity != "info"] == []


def test_all_together_the_head_comes_first(pretrained: Any) -> None:
    diagnosis = diagnosed(tuple(EXPECTED), pretrained, "mixed_float16")
    assert diagnosis.root_cause is not None
    assert diagnosis.root_cause.rule == "SD101"
    assert {f.rule for f in diagnosis.findings} >= set(EXPECTED.values())
