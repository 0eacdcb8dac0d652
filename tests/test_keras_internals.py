"""Private names of Keras and TensorFlow stay in one package, and the installed versions have them.

The first part reads saldiag's source and needs neither of them; the second looks every name up and
says which are missing, so that a new release is judged by one list.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from saldiag.keras_internals import contract

ROOT = Path(__file__).parents[1]
WALL = "saldiag/keras_internals/"
FOREIGN = ("keras.src", "keras._tf_keras", "tensorflow.python", "tensorflow.core")
PRIVATE_ATTRIBUTES = {
    *(name for _, name in contract.MODULE_NAMES if name.startswith("_")),
    *(name for _, name in contract.CLASS_NAMES),
    *(name for _, name in contract.OBJECT_NAMES),
}

ALLOWED = {
    # Python's own, documented in spite of the underscore.
    ("saldiag/app/program/rehearsal.py", "sys._getframe"),
    ("saldiag/app/program/run.py", "os._exit"),
    ("saldiag/subject/compat/bridge.py", "sys._getframe"),
    ("saldiag/subject/program/warning_log.py", "sys._getframe"),
    ("saldiag/subject/source/stack_frames.py", "sys._getframe"),
    # Python's own: a ProcessPoolExecutor has no other list of its processes.
    ("saldiag/experiments/search/workers.py", "'_processes'"),
    # A program with this fault imports the layers of another Keras: the import is the fault.
    ("saldiag/selftest/faults/layers_of_another_keras.py", "tensorflow.python.keras"),
    # The names by which a user's program knows Keras.
    ("saldiag/subject/compat/bridge.py", "'keras._tf_keras.keras'"),
    ("saldiag/subject/compat/bridge.py", "'keras.src'"),
    ("saldiag/subject/compat/names.py", "'keras._tf_keras.keras'"),
    # What older programs use is wrapped inside these; tests/test_program_compat.py resolves them.
    ("saldiag/subject/compat/arguments.py", "'keras.src.models.functional.Functional'"),
    ("saldiag/subject/compat/members.py",
     "'keras.src.legacy.saving.saving_utils.model_from_config'"),
    ("saldiag/subject/compat/members.py", "'keras.src.utils.python_utils.pythonify_logs'"),
}  # fmt: skip


def sources() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("saldiag", "probes", "reports"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def own_members(tree: ast.Module) -> Iterator[str]:
    """Private attributes that a class defines: its methods, class variables, and ``self._x =``."""
    for cls in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for node in ast.walk(cls):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield node.name
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield from [node.attr] * is_self(node.value)


@functools.cache
def all_own_members() -> frozenset[str]:
    return frozenset(name for _, tree in sources() for name in own_members(tree))


def docstrings(tree: ast.Module) -> set[int]:
    """Texts that stand alone: docstrings of modules, classes, functions and of variables."""
    statements = (node for node in ast.walk(tree) if isinstance(node, ast.Expr))
    return {id(node.value) for node in statements if isinstance(node.value, ast.Constant)}


def foreign_imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return
    for name in names:
        if any(f"{name}.".startswith(f"{package}.") for package in FOREIGN):
            yield str(getattr(node, "module", None) or name)
        elif is_private(name.rpartition(".")[2]) and not name.startswith("saldiag"):
            yield name


def foreign_attributes(node: ast.AST, own: frozenset[str]) -> Iterator[str]:
    if not isinstance(node, ast.Attribute):
        return
    dotted = ast.unparse(node)
    if dotted.startswith(FOREIGN) or (
        is_private(node.attr) and not (is_self(node.value) and node.attr in own)
    ):
        yield dotted


def foreign_texts(node: ast.AST, skipped: set[int]) -> Iterator[str]:
    """Private names in quotation marks, as ``getattr``, ``Swap`` or ``import_module`` take them."""
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        return
    text = node.value
    listed = text in PRIVATE_ATTRIBUTES or text in contract.TEXTS
    if id(node) not in skipped and (listed or text.startswith(FOREIGN)):
        yield repr(text)


def looked_up(node: ast.AST) -> Iterator[str]:
    """``getattr(x, "_name")`` and its like, whatever the name is."""
    reflective = {"getattr", "hasattr", "setattr", "delattr"}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
        name = node.args[1]
        private = isinstance(name, ast.Constant) and is_private(str(name.value))
        if node.func.id in reflective and private and not is_self(node.args[0]):
            yield ast.unparse(name)


def private_uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of each private part of Keras or TensorFlow that a module uses."""
    skipped, own = docstrings(tree), all_own_members()
    for node in ast.walk(tree):
        found = {
            *foreign_imports(node),
            *foreign_attributes(node, own),
            *foreign_texts(node, skipped),
            *looked_up(node),
        }
        yield from ((getattr(node, "lineno", 0), name) for name in sorted(found))


def test_private_names_are_used_in_one_package_only() -> None:
    outside = [
        f"{path}:{line}: {name}"
        for path, tree in sources()
        if not path.startswith(WALL)
        for line, name in private_uses(tree)
        if (path, name) not in ALLOWED
    ]
    assert not outside, "wrap these in saldiag/keras_internals:\n" + "\n".join(outside)


def test_each_exception_is_still_needed() -> None:
    used = {(path, name) for path, tree in sources() for _, name in private_uses(tree)}
    assert used >= ALLOWED


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("from keras.src import backend", "keras.src"),
        ("import tensorflow.python.eager.context", "tensorflow.python.eager.context"),
        ("from tensorflow.python import ops", "tensorflow.python"),
        ("from keras import _private", "keras._private"),
        ("x = layer._losses", "layer._losses"),
        ("x = keras.src.backend.config", "keras.src.backend.config"),
        ("x = make()._anything", "make()._anything"),
        ("class A(B):\n    def f(self):\n        self._track_this()", "self._track_this"),
        ("x = getattr(model, '_compile_loss', None)", "'_compile_loss'"),
        ("x = hasattr(model, '_unheard_of')", "'_unheard_of'"),
        ("Swap(layer, '_trainable', True)", "'_trainable'"),
        ("import_module('keras.src.saving.object_registration')",
         "'keras.src.saving.object_registration'"),
    ],
)  # fmt: skip
def test_the_scan_finds_a_private_name(code: str, name: str) -> None:
    assert name in {found for _, found in private_uses(ast.parse(code))}


@pytest.mark.parametrize(
    "code",
    [
        "x = layer.losses; x.__dict__",
        "class A:\n    def __init__(self):\n        self._x = 1\n    def f(self):\n        self._x",
        '"""Keras has ``keras.src.backend``."""',
        "from saldiag.core import _x",
        "import keras, tensorflow",
    ],
)
def test_the_scan_lets_the_rest_pass(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = ast.parse(code)
    monkeypatch.setattr(f"{__name__}.all_own_members", lambda: frozenset(own_members(tree)))
    assert not list(private_uses(tree))


def wall() -> Iterator[tuple[str, ast.Module]]:
    for path, tree in sources():
        if path.startswith(WALL) and not path.endswith("/contract.py"):
            yield path, tree


def imported_names(tree: ast.Module) -> dict[str, str]:
    """The dotted private name behind each name that a module imports."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(FOREIGN):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def private_parts(tree: ast.Module) -> Iterator[str]:
    """Attributes with an underscore, and what is taken from private modules, dotted."""
    imported = imported_names(tree)
    modules = {module for module, _ in contract.MODULE_NAMES}
    yield from (name for name in imported.values() if name not in modules)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            module = imported.get(ast.unparse(node.value), "")
            if module in modules:
                yield f"{module}.{node.attr}"
            elif is_private(node.attr):
                yield node.attr


def test_the_contract_lists_all_that_the_package_uses() -> None:
    listed = {*PRIVATE_ATTRIBUTES, *(f"{m}.{name}" for m, name in contract.MODULE_NAMES)}
    unlisted = {f"{path}: {part}" for path, tree in wall() for part in private_parts(tree)
                if part not in listed}  # fmt: skip
    listed_texts = {*PRIVATE_ATTRIBUTES, *contract.TEXTS,
                    *(part for pair in contract.MODULE_NAMES for part in pair)}  # fmt: skip
    for path, tree in wall():
        skipped = docstrings(tree)
        texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in skipped]
        unlisted |= {
            f"{path}: {node.value!r}"
            for node in texts
            if isinstance(node.value, str) and node.value not in listed_texts
            and (is_private(node.value) or node.value.startswith(FOREIGN))
        }  # fmt: skip
    assert not unlisted


def test_the_contract_lists_nothing_else() -> None:
    text = "\n".join(ast.unparse(tree) for _, tree in wall())
    names = {name for pairs in (contract.MODULE_NAMES, contract.CLASS_NAMES, contract.OBJECT_NAMES)
             for _, name in pairs}  # fmt: skip
    assert [name for name in sorted(names | set(contract.TEXTS)) if name not in text] == []


def resolved(dotted: str) -> Any:
    """A module, or a class in one; None where there is none."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        return functools.reduce(lambda owner, name: getattr(owner, name, None), parts[end:], found)
    return None


def living_objects(keras: Any) -> dict[str, Any]:
    """One of each kind of object in the contract, in use."""
    import numpy as np
    import tensorflow as tf
    from tensorflow.python.distribute.values import PerReplicaSpec
    from tensorflow.python.eager import context

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    x, y = np.ones((4, 3), np.float32), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    model.fit(x, y, verbose=0)
    with pytest.warns(UserWarning, match="Do not pass an `input_shape`"):
        shaped = keras.layers.Dense(1, input_shape=(2,))
    tf.random.set_seed(1)
    tf.random.uniform([1])
    traced = tf.function(lambda: tf.constant(1.0), autograph=False).get_concrete_function()
    from tensorflow.python.framework import ops

    return {
        "a registry": ops.gradient_registry,
        "accuracy": keras.metrics.CategoricalAccuracy(),
        "compiled loss": model._compile_loss,
        "compiled metrics": model._compile_metrics,
        "dtype policy": keras.dtype_policies.DTypePolicy("float32"),
        "eager context": context.context(),
        "functional model": model,
        "layer": model.layers[-1],
        "layer with a shape": shaped,
        "masked tensor": keras.layers.Embedding(3, 2, mask_zero=True)(np.ones((1, 2), int)),
        "model": model,
        "optimizer": model.optimizer,
        "sequential model": keras.Sequential([inputs]),
        "spec of replicas": PerReplicaSpec(tf.TensorSpec(())),
        "graph function": tf.function(lambda: tf.constant(1.0)),
        "softmax output": keras.activations.softmax(tf.ones((1, 2))),
        "symbolic tensor": model.output,
        "traced function": traced,
        "traced graph": traced.graph,
        "variable": model.variables[0],
        "variable's handle": tf.Variable(1.0).handle,
    }


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore")
def test_the_installed_versions_have_every_private_name(keras: Any) -> None:
    import tensorflow as tf

    missing = [
        f"{owner}.{name}"
        for owner, name in (*contract.MODULE_NAMES, *contract.CLASS_NAMES)
        if not hasattr(resolved(owner), name)
    ]
    try:
        objects = living_objects(keras)
    except AttributeError as error:
        missing.append(str(error))
    else:
        missing += [
            f"{kind}: {name}"
            for kind, name in contract.OBJECT_NAMES
            if not hasattr(objects[kind], name)
        ]
    versions = f"Keras {keras.__version__}, TensorFlow {tf.__version__}"
    assert not missing, f"{versions} lack:\n" + "\n".join(missing)


def scratch_graph_name(keras: Any) -> str:
    seen = []

    class Noting(keras.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            seen.append(inputs.graph.name)
            return inputs

    Noting()(keras.Input((2,)))
    return str(seen[0])


def custom_gradient_attributes() -> set[str]:
    import tensorflow as tf

    twice = tf.custom_gradient(lambda x: (2 * x, lambda upstream: 2 * upstream))
    with tf.Graph().as_default() as graph:
        twice(tf.constant(1.0))
    return {name for op in graph.get_operations() for name in op.node_def.attr}


def converted_file_name() -> str:
    import inspect

    import tensorflow as tf

    return str(inspect.getsourcefile(tf.autograph.to_graph(scratch_graph_name)))


def function_attributes() -> set[str]:
    import tensorflow as tf

    function = tf.function(
        lambda: tf.constant(1.0), autograph=False, experimental_attributes={"_noinline": True}
    )
    return set(function.get_concrete_function().function_def.attr)


def conditional_attributes() -> set[str]:
    import tensorflow as tf

    @tf.function(autograph=False)
    def choose(condition: Any) -> Any:
        return tf.cond(condition, lambda: 1.0, lambda: 2.0)

    graph = choose.get_concrete_function(tf.TensorSpec([], tf.bool)).graph
    return {name for op in graph.get_operations() for name in op.node_def.attr}


def name_scopes(keras: Any) -> Any:
    from saldiag.keras_internals.state import open_name_scopes

    with keras.name_scope("outer"):
        return len(open_name_scopes())


def names_counted(keras: Any) -> bool:
    from saldiag.keras_internals.state import name_counters

    before = dict(name_counters())
    keras.layers.Dense(1)
    return dict(name_counters()) != before


def tracked_attributes(keras: Any) -> Any:
    import tensorflow as tf

    layer = keras.layers.Dense(1)
    layer.held = tf.Variable(1.0)
    return any(name.startswith("_self_") for name in vars(layer))


def warning_module(keras: Any) -> str:
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        keras.ops.softmax(keras.ops.ones((2, 1)))
    return Path(caught[0].filename).as_posix() if caught else ""


def custom_gradient_names() -> set[str]:
    from tensorflow.python.framework import ops

    custom_gradient_attributes()
    return set(ops.gradient_registry.list())


TEXT_CHECKS: dict[str, Callable[[Any], Any]] = {
    "CustomGradient-": lambda _: any(
        name.startswith("CustomGradient-") for name in custom_gradient_names()
    ),
    "__autograph_generated_file": lambda _: "__autograph_generated_file" in converted_file_name(),
    "_gradient_op_type": lambda _: "_gradient_op_type" in custom_gradient_attributes(),
    "_keras_": lambda keras: all(
        name.startswith("_keras_")
        for name in vars(keras.activations.softmax(keras.ops.ones((1, 2)))) if "keras" in name
    ),
    "_lower_using_switch_merge": lambda _: "_lower_using_switch_merge" in conditional_attributes(),
    "_noinline": lambda _: "_noinline" in function_attributes(),
    "_self_": tracked_attributes,
    "keras.src.layers": lambda keras: keras.layers.Dense.__module__.startswith("keras.src.layers"),
    "keras.src.legacy.tf_keras": lambda _: True,  # a package that a model may bring along
    "keras.src.losses": lambda keras: keras.losses.Loss.__module__.startswith("keras.src.losses"),
    "keras.src.ops.nn": lambda keras: warning_module(keras).endswith("keras/src/ops/nn.py"),
    "name_scope_stack": name_scopes,
    "object_name_uids": names_counted,
    "scratch_graph": lambda keras: scratch_graph_name(keras).startswith("scratch_graph"),
    "tensorflow.python.keras": lambda _: resolved("tensorflow.python.keras") is not None,
}  # fmt: skip


def test_every_text_has_a_check() -> None:
    assert TEXT_CHECKS.keys() == set(contract.TEXTS)


@pytest.mark.tensorflow
@pytest.mark.parametrize("text", contract.TEXTS)
def test_the_installed_versions_use_a_text(text: str, keras: Any) -> None:
    assert TEXT_CHECKS[text](keras), f"Keras {keras.__version__} and TensorFlow no longer use it"
