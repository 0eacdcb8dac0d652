"""What errors that end a program mean: each message comes from a real crash."""

from __future__ import annotations

import linecache
import warnings

import pytest

from saldiag.core.files.fingerprints import FilesSeen
from saldiag.core.measurement import Measurements, ProgramError
from saldiag.rules.engine.engine import diagnose
from saldiag.rules.shared.error_messages import MEANINGS, meaning_of
from saldiag.subject.program.crash import MAX_MESSAGE_CHARACTERS, program_error
from saldiag.subject.source.layer_sources import recording_sources

FILE = "/home/user/program.py"

FRAME = """
import numpy as np, keras, tensorflow as tf
from keras import layers as L
x = np.ones((8, 4), "float32")
def model(*layers, loss="mse", shape=(4,)):
    made = keras.Sequential([keras.Input(shape), *layers], name="net")
    made.compile("sgd", loss)
    return made
def two(outputs=1):
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    ends = [L.Dense(3, name=f"end{i}")(L.Add()([a, b])) for i in range(outputs)]
    return keras.Model([a, b], ends)
def fit(model, x=x, y=None):
    model.fit(x, np.ones((8, 3)) if y is None else y, verbose=0)
class Product(keras.Model):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(5, 3))
    def call(self, x):
        return keras.ops.matmul(x, self.kernel)
"""

CRASHES = {
    "axis": ("fit(model(L.Dense(3, name='head')), np.ones((8, 5)))", "head", "4 along axis -1"),
    "axes": ("model(L.Dense(3), L.LSTM(2, name='memory'))", "memory", "rank 3", "gets rank 2"),
    "concatenate": ("L.Concatenate()([keras.Input((4, 5)), keras.Input((3, 5))])", "4, 5", "3, 5"),
    "merge": ("L.Add()([keras.Input((4, 5)), keras.Input((3, 2))])", "(4, 5)", "(3, 2)"),
    "reshape": ("model(L.Reshape((3, 2)))", "(4,)", "(3, 2)"),
    "used up": ("model(L.MaxPooling2D(5), shape=(3, 3, 1))", "5 5", "3 3"),
    "unknown size": ("model(L.Flatten(), L.Dense(2), shape=(None, 4))", "(None, 2)", "kernel"),
    "loss shapes": ("fit(model(L.Dense(2)))", "compile_loss/mse", "[?,3]", "[?,2]"),
    "node shapes": (
        "made = Product()\nmade.compile('sgd', 'mse')\nfit(made)", "[?,4]", "[5,3]", "MatMul",
    ),
    "matrices": ("keras.ops.matmul(np.ones((2, 3)), np.ones((4, 5)))", "[2,3]", "[4,5]"),
    "class numbers": (
        "fit(model(L.Dense(3), loss='categorical_crossentropy'), y=np.zeros(8))",
        "(None,", "(None, 3)",
    ),
    "target shape": (
        "fit(model(L.Dense(3), loss='binary_crossentropy'), y=np.zeros((8, 2)))", "(None, 2)",
    ),
    "one-hot": (
        "fit(model(L.Dense(3), loss='sparse_categorical_crossentropy'))", "(None, 3)", "one-hot",
    ),
    "label range": (
        "fit(model(L.Dense(3), loss='sparse_categorical_crossentropy'), y=np.full(8, 5))",
        "a label is 5", "3 units",
    ),
    "embedding range": (
        "fit(model(L.Embedding(5, 3, name='words'), L.Flatten(), L.Dense(3)), np.full((8, 4), 9))",
        "words", "is 9", "5 rows",
    ),
    "sizes": ("fit(model(L.Dense(3)), y=np.ones((7, 3)))", "8 and 7"),
    "inputs": ("made = two()\nmade.compile('sgd', 'mse')\nfit(made)", "2 expected, 1 given"),
    "input names": (
        "made = two()\nmade.compile('sgd', 'mse')\nfit(made, {'a': x, 'c': x})", "['a', 'c']",
    ),
    "outputs": ("made = two(2)\nmade.compile('sgd', ['mse', 'mse'])\nfit(made, [x, x])", "'*'"),
    "losses": (
        "made = two(2)\nmade.compile('sgd', ['mse'] * 3)\nfit(made, [x, x], [np.ones((8, 3))] * 2)",
        "output 2",
    ),
    "loss names": (
        "made = two(2)\nmade.compile('sgd', {'end0': 'mse', 'end': 'mse'})\n"
        "fit(made, [x, x], {'end0': np.ones((8, 3)), 'end1': np.ones((8, 3))})",
        "['end0', 'end']",
    ),
    "strings": ("fit(model(L.Dense(3)), np.array([['a'] * 4] * 8))", "dtype str"),
    "lists": ("fit(model(L.Dense(3)), [[1, 2, 3, 4]] * 8)", "gets a list"),
    "data ended": (
        "batches = iter(tf.data.Dataset.from_tensors(x))\nnext(batches)\nnext(batches)",
    ),
    "memory": ("tf.zeros((10**7, 10**7))", "[10000000,10000000]"),
    "no gradient": (
        "fit(model(L.Dense(3), L.Lambda(lambda x: keras.ops.round(keras.ops.stop_gradient(x)))))",
    ),
    "not compiled": ("fit(keras.Sequential([keras.Input((4,)), L.Dense(3)]))",),
    "not built": ("keras.Sequential([L.Dense(3)], name='bare').count_params()", "bare"),
    "not connected": ("keras.Model(keras.Input((4,)), L.Dense(2)(keras.Input((4,))))",),
    "symbolic": ("tf.reduce_sum(keras.Input((4,)))",),
    "same name": ("model(L.Dense(3, name='one'), L.Dense(3, name='one'))", "one"),
    "layer name": ("fit(model(L.Dense(3, name='my head')))", "named my head,"),
    "unknown name": ("L.Dense(3, activation='rele')", "activation function named rele"),
    "no file": ("model(L.Dense(3)).load_weights('nothing.weights.h5')", "nothing.weights.h5"),
    "layer count": (
        "model(L.Dense(3), L.Dense(2)).save('two.h5')\nmodel(L.Dense(3)).load_weights('two.h5')",
        "1 in the model", "2 in the file",
    ),
    "variables": (
        "model(L.Dense(3)).save_weights('a.weights.h5')\n"
        "model(L.Dense(3), L.Dense(2, name='new')).load_weights('a.weights.h5')",
        "layer new: 2 in the model", "0 in the file",
    ),
    "variable shape": (
        "model(L.Dense(3)).save_weights('a.weights.h5')\n"
        "model(L.Dense(5)).load_weights('a.weights.h5')",
        "(4, 5)", "(4, 3)",
    ),
    "saved shape": (
        "model(L.Dense(3)).save('one.h5')\nmodel(L.Dense(5)).load_weights('one.h5')",
        "(4, 5)", "(4, 3)",
    ),
    "weight list": ("model(L.Dense(3)).set_weights([np.ones((4, 3))])", "2 in the layer, 1 given"),
    "weight shape": (
        "model(L.Dense(3)).set_weights([np.ones((4, 2)), np.ones(3)])", "(4, 3)", "(4, 2)",
    ),
    "lambda": (
        "model(L.Lambda(lambda x: x)).save('l.keras')\nkeras.models.load_model('l.keras')",
    ),
    "part per replica": (
        "from tests.replicas.crash import error_of\nraise error_of('data = strategy."
        "experimental_distribute_dataset(tf.data.Dataset.from_tensors(x)); "
        "tf.convert_to_tensor(next(iter(data)))')",
        "MultiWorkerMirroredStrategy",
    ),
    "synchronization in a branch": (
        "from tests.replicas.crash import error_of\nraise error_of('model("
        "gradient_accumulation_steps=2).fit(x, x[:, :1], batch_size=4, verbose=0)')",
        "gradient_accumulation_steps",
    ),
    "uneven batch": (
        "from tests.replicas.crash import error_of\n"
        "raise error_of('model().fit(x, x[:, :1], batch_size=5, verbose=0)')",
        "3 and 2 items",
    ),
}  # fmt: skip
"""By kind: a program whose last line crashes, and what is said of it."""


def crashed(code: str) -> ProgramError:
    from saldiag_probes.state.isolation import preserved_name_scopes

    linecache.cache[FILE] = (len(code), None, code.splitlines(keepends=True), FILE)
    with (
        preserved_name_scopes(),
        warnings.catch_warnings(),
        recording_sources(FilesSeen()) as lines,
    ):
        warnings.simplefilter("ignore")
        try:
            exec(compile(code, FILE, "exec"), {"__name__": "__main__"})
        except Exception as error:
            return program_error(error, lines.by_name())
    raise AssertionError("it does not crash")


def judged(ended: ProgramError):
    diagnosis = diagnose(Measurements.of(ended), verdict="not_tested", select=["SD904"])
    return diagnosis.findings, diagnosis.skipped


def test_every_kind_has_a_crash():
    assert [meaning.key for meaning in MEANINGS] == list(CRASHES)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", CRASHES)
def test_a_crash_is_explained(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, *said = CRASHES[kind]
    ended = crashed(FRAME + code + "\n")
    (finding,), _ = judged(ended)
    assert finding.evidence["kind"] == kind, ended.message
    assert not [text for text in said if text not in finding.message], finding.message
    assert len(finding.message) < 500
    assert finding.source is not None
    assert finding.source.file == FILE
    # The innermost line of the program's own: the last one, or one of a function that it calls.
    own = ("model.fit(", "made = keras.Sequential(", "return keras.ops.matmul(")
    assert finding.source.text == code.splitlines()[-1] or finding.source.text.startswith(own)


@pytest.mark.tensorflow
def test_the_layer_is_named_with_the_line_that_makes_it():
    (finding,), _ = judged(
        crashed(
            "import keras\nlayer = keras.layers.LSTM(\n    2, name='memory')\n"
            "made = keras.Sequential([keras.Input((4,))])\nmade.add(\n    layer)\n"
        )
    )
    assert finding.layers == ("memory",)
    assert f"{FILE[-15:]}:2".lstrip("/") in finding.message or "program.py:2" in finding.message
    assert finding.source.line == 5


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("code", "says", "fix"),
    [
        ("import keras\nkeras.layers.Dense(\n  output_dim=3)", "--compat emulates it", "units="),
        ("import numpy as np\nnp.float(1)", "numpy.float is no longer supported", "use float"),
        ("import tensorflow as tf\ntf.Session()", "tensorflow.Session", "no graphs"),
    ],
)
def test_what_is_of_an_older_version_is_told_with_the_way_out(code, says, fix):
    (finding,), _ = judged(crashed(code))
    assert says in finding.message
    assert fix in finding.fix
    assert ("--compat" in finding.message) == ("Session" not in code)
    assert finding.source.line == 2


@pytest.mark.parametrize(
    "ended",
    [
        ProgramError("ValueError", "mine"),
        ProgramError("KeyError", "'acc'"),
        ProgramError("RuntimeError", ""),
        ProgramError("RuntimeError", "End of sequence"),
    ],
)
def test_another_error_is_not_judged(ended):
    findings, skipped = judged(ended)
    assert findings == ()
    assert ended.error in skipped[0].reason


def test_no_error_is_clear():
    assert judged(ProgramError()) == ((), ())


def test_it_comes_before_other_errors():
    from tests.faults import sd101_single_channel_softmax, sd904_program_crash

    both = sd101_single_channel_softmax.broken().with_(
        sd904_program_crash.broken().need(ProgramError)
    )
    diagnosis = diagnose(both, verdict="not_tested")
    assert {"SD101", "SD904"} <= {finding.rule for finding in diagnosis.findings}
    assert diagnosis.root_cause.rule == "SD904"


def test_hostile_names_and_long_messages_are_cut():
    name = "\x1b[2J\u202e{0}" + "x" * 1000
    error = ValueError(f"should have unique names. Name '{name}' is already {'y' * 9000}")

    ended = program_error(error, {})
    assert len(ended.message) <= MAX_MESSAGE_CHARACTERS + 3
    (finding,), _ = judged(ended)
    assert len(finding.message) < 500
    assert "\x1b" not in finding.message
    assert "\u202e" not in finding.message


def test_the_first_pattern_that_fits_counts():
    targets = "Received: target.shape=(None, {}), output.shape=(None, 3)"
    rank = "Arguments `target` and `output` must have the same shape. "
    assert meaning_of("ValueError", rank + targets.format(1))[0].key == "class numbers"
    assert meaning_of("ValueError", rank + targets.format(2))[0].key == "target shape"


@pytest.mark.tensorflow
def test_what_python_itself_ends_is_not_data():
    findings, skipped = judged(crashed("next(x for x in [1] if x > 1)"))
    assert findings == ()
    assert "StopIteration" in skipped[0].reason


@pytest.mark.slow
@pytest.mark.tensorflow
class TestWholePrograms:
    def test_one_that_trains(self, program):
        result, found, shown = program(
            FRAME + "fit(model(L.Dense(3), loss='sparse_categorical_crossentropy'), y=x[:, 0] + 4)"
        )
        assert result == 1
        assert "Traceback" in shown.err
        assert found["root_cause"]["rule"] == "SD904"
        assert found["root_cause"]["source"]["text"].startswith("model.fit(x, ")
        assert "a label is 5" in " ".join(shown.out.split())

    def test_one_that_comes_to_no_model(self, program, tmp_path):
        result, found, shown = program(FRAME + "model(L.Dense(3), L.LSTM(2))")
        assert result == 1
        assert found["root_cause"]["source"]["text"].startswith("made = keras.Sequential(")
        assert found["verdict"] == "not_tested"
        assert "trained no Keras model" in shown.err
        assert "expects inputs of rank 3" in (tmp_path / "run" / "report.html").read_text()

    def test_one_of_keras_2(self, program):
        result, found, _ = program("import keras\nkeras.optimizers.SGD(lr=0.1)\n")
        assert result == 1
        (finding,) = found["findings"]
        assert "saldiag run --compat" in finding["message"]
        assert finding["fix"] == "use learning_rate="

    def test_an_error_of_its_own_leaves_no_run(self, program, tmp_path):
        result, found, _ = program("raise RuntimeError('mine')\n")
        assert (result, found) == (2, None)
        assert not (tmp_path / "run").exists()
