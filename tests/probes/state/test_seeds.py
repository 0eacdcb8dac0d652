"""Which seeds are set, told without moving any random state."""

from __future__ import annotations

import random

import numpy as np
import pytest

from saldiag.core.measurement import Seeds
from tests.support import models
from tests.support.judging import found, skipped

pytestmark = pytest.mark.tensorflow
keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")


@pytest.fixture
def unseeded():
    """No seed is set; afterwards one is."""
    keras.backend.clear_session()
    tf.random.set_seed(None)
    yield
    keras.utils.set_random_seed(1)


@pytest.mark.usefixtures("unseeded")
def test_which_seed_is_set():
    from saldiag_probes.state.seeds import measure_seeds

    assert measure_seeds() == Seeds(keras=False, tensorflow=False, deterministic=False)
    tf.random.set_seed(3)
    assert measure_seeds() == Seeds(keras=False, tensorflow=True, deterministic=False)
    keras.utils.set_random_seed(3)
    assert measure_seeds() == Seeds(keras=True, tensorflow=True, deterministic=False)


def test_reading_the_seed_draws_no_number():
    from saldiag_probes.state.seeds import measure_seeds

    def drawn():
        return random.random(), np.random.random(), float(keras.random.uniform(()))  # noqa: NPY002

    keras.utils.set_random_seed(2)
    expected = drawn()
    keras.utils.set_random_seed(2)
    measure_seeds()
    assert drawn() == expected


@pytest.mark.slow
@pytest.mark.usefixtures("unseeded")
@pytest.mark.parametrize("seeded", [False, True])
def test_a_program_is_examined_with_its_own_seed(seeded):
    from saldiag.app.examine.in_memory import examine_model
    from saldiag.app.loading.subject import Subject
    from saldiag.app.session.judging import judge

    if seeded:
        keras.utils.set_random_seed(2)
    model = models.compiled(models.sequential((2,), keras.layers.Dense(1)))
    batch = (np.eye(2, dtype="float32"), np.ones((2, 1), "float32"))
    findings = judge(examine_model(Subject(model), [batch], max_steps=0)).findings
    assert [f.severity for f in findings if f.rule == "SD902"] == ([] if seeded else ["info"])


def test_a_seed_set_by_hand_cannot_be_judged():
    seeds = Seeds(keras=False, tensorflow=True, deterministic=True)
    assert found("SD902", seeds) == []
    assert "Python" in skipped("SD902", seeds)
