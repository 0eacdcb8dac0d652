"""Variables, tables and random kernels of no model: the program finds them as it left them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from saldiag.keras_internals.names import CALL_FUNCTION, SEED_FUNCTION, SET_EAGER_SEED

pytestmark = pytest.mark.tensorflow
keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")


def block() -> Any:
    from saldiag_probes.state.isolation import preserved_random_state

    return preserved_random_state()


def patched_attributes() -> list[Any]:
    from saldiag.keras_internals.graphs import ConcreteFunction
    from saldiag.keras_internals.state import SEED_MODULE, Context
    from saldiag.keras_internals.variables import ResourceVariable, TableBase

    return [
        vars(ResourceVariable)["handle"],
        vars(TableBase)["resource_handle"],
        vars(ConcreteFunction)[CALL_FUNCTION],
        vars(SEED_MODULE)[SEED_FUNCTION],
        vars(Context)[SET_EAGER_SEED],
    ]


def graph(function: Callable[[], Any]) -> Any:
    return tf.function(function, autograph=False)


def counting(count: Any) -> dict[str, Callable[[], Any]]:
    """Ways to change a variable, by name."""
    traced = graph(lambda: count.assign_add([1.0, 1.0]))
    traced()
    outer = graph(lambda: traced() + 0.0)
    return {
        "assign": lambda: count.assign([5.0, 5.0]),
        "assign_sub": lambda: count.assign_sub([5.0, 5.0]),
        "scatter": lambda: count.scatter_add(
            tf.IndexedSlices(tf.constant([1.0]), tf.constant([0]))
        ),
        "slice": lambda: count[:1].assign([9.0]),
        "raw operation": lambda: tf.raw_ops.AssignVariableOp(
            resource=count.handle, value=tf.constant([7.0, 7.0])
        ),
        "a function traced before": traced,
        "a function traced inside": graph(lambda: count.assign_add([1.0, 1.0])),
        "a function in a function": outer,
        "a branch": graph(
            lambda: tf.cond(tf.constant(True), lambda: count.assign_add([1.0, 1.0]), lambda: count)
        ),
        "as an argument": lambda: tf.function(lambda v: v.assign_add([1.0, 1.0]))(count),
    }


WAYS = (
    "assign", "assign_sub", "scatter", "slice", "raw operation", "a function traced before",
    "a function traced inside", "a function in a function", "a branch", "as an argument",
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_variable_of_no_model_is_restored(way: str) -> None:
    count = tf.Variable([1.0, 2.0])
    change = counting(count)[way]
    before = count.numpy()
    with block():
        change()
        change()
        assert (count.numpy() != before).any()
    np.testing.assert_array_equal(count.numpy(), before)


def test_every_way_is_tried() -> None:
    assert tuple(counting(tf.Variable([0.0, 0.0]))) == WAYS


def test_the_outer_block_restores_what_the_inner_one_left() -> None:
    count, other = tf.Variable(1.0), tf.Variable(1.0)
    with block():
        count.assign(2.0)
        with block():
            count.assign(3.0)
            other.assign(3.0)
        assert (float(count), float(other)) == (2.0, 1.0)
        other.assign(4.0)
    assert (float(count), float(other)) == (1.0, 1.0)


def test_the_results_of_a_block_are_kept() -> None:
    from saldiag_probes.state.touched_resources import keep_changes

    result = tf.Variable(0.0)
    add = graph(lambda: result.assign_add(1.0))
    with block(), block():
        keep_changes([result])
        add()
    assert float(result) == 1.0


def test_a_variable_made_inside_keeps_its_first_value() -> None:
    with block():
        made = tf.Variable(3.0)
        made.assign(4.0)
    assert float(made) in {3.0, 4.0}


def test_variables_of_other_threads_are_left_alone() -> None:
    count = tf.Variable(0.0)
    with block():
        thread = threading.Thread(target=lambda: count.assign(5.0))
        thread.start()
        thread.join()
    assert float(count) == 5.0


def test_blocks_of_two_threads_may_overlap() -> None:
    before = patched_attributes()
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with block():
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with block():
        thread.start()
        entered.wait(30)
    assert patched_attributes() != before
    leave.set()
    thread.join()
    assert patched_attributes() == before


def test_another_thread_draws_from_its_own_kernels() -> None:
    def draws(*, inside: bool) -> list[float]:
        tf.random.set_seed(3)
        drawn = [float(tf.random.normal((), seed=1))]
        thread = threading.Thread(target=lambda: drawn.append(float(tf.random.normal((), seed=1))))
        if inside:
            with block():
                thread.start()
                thread.join()
        else:
            thread.start()
            thread.join()
        return drawn

    assert draws(inside=True) == draws(inside=False)


def test_generators_that_are_variables_are_restored() -> None:
    generator = tf.random.Generator.from_seed(1)
    seeds = keras.random.SeedGenerator(1)
    before = generator.state.numpy(), seeds.state.numpy()
    with block():
        generator.normal((2,))
        graph(lambda: generator.normal((2,)))()
        keras.random.normal((2,), seed=seeds)
    np.testing.assert_array_equal(generator.state.numpy(), before[0])
    np.testing.assert_array_equal(seeds.state.numpy(), before[1])


def test_a_hash_table_is_restored() -> None:
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    table.insert(tf.constant(["a"]), tf.constant([1], tf.int64))
    with block():
        table.insert(tf.constant(["a", "b"]), tf.constant([5, 6], tf.int64))
    assert table.lookup(tf.constant(["a", "b"])).numpy().tolist() == [1, -1]


def draws_after(inside: Callable[[], Any] | None, draw: Callable[[], Any]) -> list[float]:
    """Four draws, with a block after the second if something is to happen inside one."""
    tf.random.set_seed(3)
    first = [float(draw()), float(draw())]
    if inside is not None:
        with block():
            inside()
            inside()
    return [*first, float(draw()), float(draw())]


def sources_of_noise() -> dict[str, Callable[[], Any]]:
    return {
        "eager": lambda: tf.random.normal(()),
        "eager, own seed": lambda: tf.random.normal((), seed=4),
        "traced": graph(lambda: tf.random.normal(())),
        "traced, own seed": graph(lambda: tf.random.uniform((), seed=4)),
        "shuffled": graph(lambda: tf.random.shuffle(tf.range(1000))[0]),
        "in a branch": graph(
            lambda: tf.cond(tf.constant(True), lambda: tf.random.normal(()), lambda: 0.0)
        ),
    }


@pytest.mark.parametrize("kind", list(sources_of_noise()))
@pytest.mark.parametrize("what", ["the same", "set_seed", "another", "inside a graph"])
def test_random_kernels_continue(kind: str, what: str) -> None:
    def inside(draw: Callable[[], Any]) -> Callable[[], Any]:
        return {
            "the same": draw,
            "set_seed": lambda: (tf.random.set_seed(3), draw()),
            "another": lambda: [other() for other in sources_of_noise().values()],
            "inside a graph": graph(draw),
        }[what]

    expected, found = (sources_of_noise()[kind] for _ in range(2))
    assert draws_after(inside(found), found) == draws_after(None, expected)


def test_a_function_traced_inside_draws_as_if_traced_outside() -> None:
    def draws(*, inside: bool) -> list[float]:
        tf.random.set_seed(3)
        noise = graph(lambda: tf.random.normal(()))
        if inside:
            with block():
                noise()
        return [float(noise()), float(noise())]

    assert draws(inside=True) == draws(inside=False)


def test_noise_inside_a_block_goes_on_and_starts_anew_in_the_next() -> None:
    noise = graph(lambda: tf.random.normal(()))
    with block():
        first = [float(noise()), float(noise())]
    with block():
        second = [float(noise()), float(noise())]
    assert first == second
    assert first[0] != first[1]


def test_a_seed_set_inside_starts_the_noise_anew() -> None:
    noise = graph(lambda: tf.random.normal(()))
    with block():
        first = [float(noise()), float(noise())]
        tf.random.set_seed(5)
        second = [float(noise()), float(noise())]
    assert first == second


def test_gradients_pass_through_a_copied_function() -> None:
    weight = tf.Variable(2.0)
    noisy = graph(lambda: weight * (1.0 + 0.0 * tf.random.normal(())))
    noisy()
    with block(), tf.GradientTape() as tape:
        value = noisy()
    assert float(tape.gradient(value, weight)) == 1.0


def test_a_pass_without_the_graph_optimizer_keeps_the_kernels() -> None:
    from saldiag_probes.trace.execution import without_graph_optimizer

    def draws(*, blocks: int) -> list[float]:
        tf.random.set_seed(3)
        noise = graph(lambda: tf.random.normal(()))
        drawn = [float(noise())]
        for _ in range(blocks):
            with without_graph_optimizer():
                tf.random.normal(())
        return [*drawn, float(noise())]

    assert draws(blocks=1) == draws(blocks=0)


def test_everything_is_unpatched_after_an_error() -> None:
    before = patched_attributes()

    def fail() -> None:
        with block(), block():
            assert patched_attributes() != before
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert patched_attributes() == before


def test_seeds_set_inside_are_forgotten() -> None:
    from saldiag.keras_internals.state import keras_seed
    from saldiag_probes.state.seeds import measure_seeds

    keras.utils.set_random_seed(11)
    before = measure_seeds()
    expected = float(tf.random.normal(()))
    keras.utils.set_random_seed(11)
    with block():
        keras.utils.set_random_seed(12)
    assert (measure_seeds(), keras_seed()) == (before, 11)
    assert float(tf.random.normal(())) == expected


def test_keras_draws_the_same_in_every_block_and_keeps_one_generator() -> None:
    from keras.src.backend.common import global_state

    from saldiag_probes.state import random_state

    def draw() -> list[float]:
        with block():
            return [float(keras.random.normal(())), float(keras.random.normal(()))]

    keras.utils.set_random_seed(4)
    draw()
    kept = len(random_state._kept_generators)
    drawn = [draw(), draw()]
    assert len(random_state._kept_generators) == kept
    assert global_state.get_global_attribute("global_seed_generator") is None
    assert drawn == [[float(keras.random.normal(())), float(keras.random.normal(()))]] * 2


def test_automatic_names_go_on() -> None:
    first = keras.layers.Dense(1).name
    with block():
        keras.layers.Dense(1)
    number = int(first.rpartition("_")[2]) if "_" in first else 0
    assert keras.layers.Dense(1).name == f"dense_{number + 1}"


def function_with_gradient() -> Any:
    twice = tf.custom_gradient(lambda x: (2 * x, lambda upstream: 5 * upstream))
    return graph(lambda: twice(tf.constant(1.0)))


def custom_gradients() -> set[str]:
    import gc

    from tensorflow.python.framework import ops

    gc.collect()
    return {name for name in ops.gradient_registry.list() if name.startswith("CustomGradient-")}


def test_custom_gradients_are_forgotten_with_their_graph() -> None:
    before = custom_gradients()
    with block():
        function = function_with_gradient()
        function()
    assert len(custom_gradients() - before) == 1
    del function
    assert custom_gradients() == before


def test_a_custom_gradient_from_a_block_is_used_after_it() -> None:
    weight = tf.Variable(1.0)
    twice = tf.custom_gradient(lambda x: (2 * x, lambda upstream: 5 * upstream))
    function = graph(lambda: twice(weight))
    with block():
        function()
    with tf.GradientTape() as tape:
        value = function()
    assert float(tape.gradient(value, weight)) == 5.0
