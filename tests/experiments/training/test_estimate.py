"""How long a training will take: said once, from its first steps, by a clock of the test's own."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.tensorflow

FIRST, STEP, BATCH = 30.0, 0.94, 0.3
"""Seconds of a traced first step, of any other, and of a validation batch."""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fit(
    said: list[str], *, epochs: int, steps: int, validation: int = 4, first: int = 0,
    step: float = STEP, run: int | None = None, **options: Any,
) -> list[tuple[int, int]]:  # fmt: skip
    """Call the callback as Keras does; returns the epoch and step at which each line was said."""
    from saldiag.experiments.training.estimate import TrainingEstimate

    options.setdefault("memory", lambda: (6_100_000_000, None))
    clock = Clock()
    estimate = TrainingEstimate(
        said.append, epochs=epochs, steps=steps, validation_batches=validation, first=first,
        clock=clock, **options,
    )  # fmt: skip
    at: list[tuple[int, int]] = []
    for epoch in range(first, min(epochs, first + (run or epochs))):
        estimate.on_epoch_begin(epoch, logs={})
        for index in range(steps):
            clock.now += FIRST if epoch == first and index == 0 else step
            estimate.on_train_batch_end(index, logs={"loss": 1.0})
            at += [(epoch, index + 1)] * (len(said) - len(at))
        estimate.on_test_begin(logs={})
        for index in range(validation):
            clock.now += BATCH
            estimate.on_test_batch_end(index, logs={})
        estimate.on_test_end(logs={})
        estimate.on_epoch_end(epoch, logs={})
        at += [(epoch, steps)] * (len(said) - len(at))
    return at


def test_the_estimate_is_printed_once_after_twenty_steps() -> None:
    said: list[str] = []
    assert fit(said, epochs=50, steps=250, run=3) == [(0, 20)]
    # 50 * (250 * 0.94 + 4 * 0.47 + 0.5 * 29.06) s
    assert said == [
        "50 epochs of 250 steps: about 3 h 30 min at 0.94 s per step, up to 6.1 GB of memory"
    ]


def test_short_epochs_are_estimated_after_the_first_one_with_its_validation() -> None:
    said: list[str] = []
    assert fit(said, epochs=50, steps=5, run=4) == [(0, 5)]
    # 50 * (5 * 0.94 + 4 * 0.3 + 0.5 * 29.06) s
    assert said == ["50 epochs of 5 steps: about 17 min at 0.94 s per step, up to 6.1 GB of memory"]


def test_epochs_of_one_step_are_estimated_once_untraced_steps_are_measured() -> None:
    said: list[str] = []
    assert fit(said, epochs=100, steps=1, run=10) == [(2, 1)]
    assert said[0].startswith("100 epochs of 1 step: about 28 min at 0.94 s per step")


def test_a_resumed_run_estimates_the_remaining_epochs() -> None:
    said: list[str] = []
    fit(said, epochs=50, steps=250, first=17, run=2)
    assert len(said) == 1
    assert said[0].startswith("33 more epochs of 250 steps: about 2 h 18 min at")


@pytest.mark.parametrize(
    ("epochs", "steps", "step"), [(2, 25, 0.1), (2, 5, 1.0), (1, 10, 30.0)], ids=str
)
def test_there_is_no_estimate_for_a_short_training_or_after_the_last_epoch(
    epochs: int, steps: int, step: float
) -> None:
    said: list[str] = []
    fit(said, epochs=epochs, steps=steps, step=step)
    assert said == []


def test_memory_is_printed_where_it_is_known() -> None:
    said: list[str] = []
    fit(said, epochs=50, steps=250, run=1, memory=lambda: (None, None))
    fit(said, epochs=50, steps=250, run=1, memory=lambda: (2 * 10**9, 11_200_000_000))
    assert said[0].endswith("per step")
    assert said[1].endswith("per step, up to 2.0 GB of memory, 11.2 GB on the GPU")


def test_peak_memory_is_that_of_this_process() -> None:
    from saldiag.experiments.training.estimate import peak_memory

    process, _ = peak_memory()
    assert process is None or 50e6 < process < 1e12


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(61, "1 min"), (3540, "59 min"), (3600, "1 h"), (86400 * 2 + 3600 * 3, "2 d 3 h")],
)
def test_spans(seconds: float, told: str) -> None:
    from saldiag.experiments.training import estimate

    assert estimate._format_duration(seconds) == told


def test_a_data_set_that_does_not_know_its_length_has_no_count() -> None:
    import tensorflow as tf

    from saldiag.experiments.training.estimate import batch_count

    numbers = tf.data.Dataset.range(10)
    assert batch_count(numbers.batch(4)) == 3
    assert batch_count(numbers.filter(lambda x: x > 3)) is None
    assert batch_count([1, 2]) is None
