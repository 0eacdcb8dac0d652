"""The states of a watched model: forwards, or into another training."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.app.watching.model_record import NEXT_STATES, ModelRecord, ModelState


def test_a_training_from_its_first_batch_to_its_measurements():
    record = ModelRecord().advanced(ModelState.EXAMINED).advanced(ModelState.TRAINING)
    record = record.stepped().stepped().advanced(ModelState.SETTLED).collected()
    assert record.state is ModelState.COLLECTED
    assert record.is_examined
    assert (record.steps, record.collected_steps) == (2, 2)


def test_an_error_has_the_training_collected_again():
    record = ModelRecord().advanced(ModelState.SETTLED).collected()
    record = record.advanced(ModelState.TRAINING).failed()
    assert record.collected_steps is None
    assert record.ended_in_error


@pytest.mark.parametrize(
    ("state", "following"),
    [
        (ModelState.TRAINING, ModelState.COLLECTED),
        (ModelState.UNSEEN, ModelState.COLLECTED),
        (ModelState.COLLECTED, ModelState.EXAMINED),
    ],
)
def test_other_orders_are_refused(state, following):
    with pytest.raises(ValueError, match=f"cannot become {following.value}"):
        dataclasses.replace(ModelRecord(), state=state).advanced(following)


@given(st.lists(st.sampled_from(ModelState)))
def test_only_known_states_follow_and_the_record_stays(states):
    record = ModelRecord()
    for state in states:
        before = dataclasses.astuple(record)
        allowed = state is record.state or state in NEXT_STATES[record.state]
        if allowed:
            following = record.advanced(state)
            assert dataclasses.astuple(record) == before
            record = following
        else:
            with pytest.raises(ValueError, match="cannot become"):
                record.advanced(state)
    if ModelState.EXAMINED in states and record.state is ModelState.EXAMINED:
        assert record.is_examined
