"""Joining gradient histories; no TensorFlow needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.measurement import GradientHistory, VariableInfo
from saldiag_probes.training.merge_histories import STEP_FIELDS, VARIABLE_FIELDS, merge_histories
from tests.support.command_line import run_python


def history(paths: list[str], steps: list[int], value: float, loss: float) -> GradientHistory:
    per_variable: dict[str, Any] = {
        name: np.full((len(steps), len(paths)), value) for name in VARIABLE_FIELDS
    }
    per_step: dict[str, Any] = {name: np.full(len(steps), loss) for name in STEP_FIELDS}
    infos = tuple(VariableInfo(path, path.split("/")[0], (2,), "float32") for path in paths)
    return GradientHistory(
        infos, np.array(steps, np.int64), dropped_steps=1, **per_variable, **per_step
    )


def test_chunks_of_one_probe_follow_each_other() -> None:
    whole = merge_histories(
        [history(["a/k"], [0, 1], 1.0, 5.0), history(["a/k", "b/k"], [2], 2.0, 6.0)]
    )
    assert [info.path for info in whole.variables] == ["a/k", "b/k"]
    assert whole.steps.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(whole.norm, [[1, np.nan], [1, np.nan], [2, 2]])
    assert whole.loss.tolist() == [5, 5, 6]
    assert whole.dropped_steps == 2


def test_optimizers_of_one_model_stand_side_by_side() -> None:
    both = merge_histories(
        [history(["a/k"], [0, 2], 1.0, np.nan), history(["b/k"], [0, 1], 2.0, 7.0)]
    )
    assert both.steps.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(both.norm, [[1, 2], [np.nan, 2], [1, np.nan]])
    np.testing.assert_array_equal(both.loss, [7, 7, np.nan])


def test_merging_no_histories_gives_an_empty_one() -> None:
    nothing = merge_histories([])
    assert nothing.variables == ()
    assert nothing.steps.size == 0
    assert nothing.norm.shape == (0, 0)


@given(st.lists(st.integers(0, 30), unique=True), st.integers(0, 30))
def test_cutting_a_history_and_joining_it_changes_nothing(steps: list[int], cut: int) -> None:
    steps = sorted(steps)
    chunks = [[s for s in steps if s < cut], [s for s in steps if s >= cut]]
    whole = merge_histories([history(["a/k"], chunk, 3.0, 1.0) for chunk in chunks])
    assert whole.steps.tolist() == steps
    assert (whole.norm == 3.0).all()
    assert np.isfinite(whole.loss).all()


def test_needs_no_tensorflow() -> None:
    code = (
        "import saldiag_probes.training.merge_histories, sys; sys.exit('tensorflow' in sys.modules)"
    )
    assert run_python(code).returncode == 0
