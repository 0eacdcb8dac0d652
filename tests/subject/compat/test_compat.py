"""``saldiag run --compat``: programs that were written for Keras 2 and numpy 1."""

from __future__ import annotations

import sys
import warnings

import pytest

from saldiag.subject.compat.arguments import ARGUMENTS
from saldiag.subject.compat.bridge import (
    KERAS_NAMES,
    _ModuleStandIn,
    module_aliases,
    old_apis_available,
    resolve_dotted,
)
from saldiag.subject.compat.members import MEMBERS, WRAPPED
from saldiag.subject.compat.names import NAMES
from saldiag.subject.compat.recognise import find_rename

pytestmark = pytest.mark.tensorflow

ENTRIES = (*NAMES, *ARGUMENTS, *MEMBERS, *WRAPPED)


def execute(code: str, **names):
    """Run a program's text as the user's code is run: in a file that is nobody's library."""
    namespace = {"__name__": "__main__", **names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras' advice on how it is written today
        exec(compile(code, "/home/user/program.py", "exec"), namespace)
    return namespace


def bridging(code: str, **names):
    """What the program's names are afterwards, and the entries that it used."""
    told = []
    with old_apis_available(
        lambda entry, source: told.append((entry.display_name, source and source.line))
    ):
        namespace = execute(code, **names)
    return namespace, dict(told)


class TestTables:
    @pytest.mark.parametrize("entries", [NAMES, ARGUMENTS, MEMBERS, WRAPPED])
    def test_no_entry_is_there_twice(self, entries):
        assert len({(entry.owner, entry.old_name) for entry in entries}) == len(entries)

    def test_what_stands_for_a_name_is_there(self):
        for entry in NAMES:
            assert entry.replacement
            if isinstance(entry.target, str):
                assert resolve_dotted(entry.target) is not None, entry.display_name
            elif entry.target is not None:
                assert entry.target() is not None, entry.display_name

    def test_every_place_is_there(self):
        for entry in (*ARGUMENTS, *MEMBERS, *WRAPPED):
            assert resolve_dotted(entry.owner) is not None

    def test_keras_is_known_by_all_its_names(self):
        assert module_aliases("keras.layers") == [f"{root}.layers" for root in KERAS_NAMES]
        assert module_aliases("numpy") == ["numpy"]


def state():
    """All that a bridge may touch: names of modules, members of classes, what can be imported."""
    import keras

    owners = {
        name: module
        for name, module in sys.modules.items()
        if name == "numpy"
        or name.partition(".")[0] == "keras"
        or name.startswith("tensorflow.keras")
    }
    for place in (keras, keras.layers, keras.optimizers, keras.callbacks, keras.utils):
        kinds = [kind for kind in vars(place).values() if isinstance(kind, type)]
        owners |= {f"{kind.__module__}:{kind.__qualname__}": kind for kind in kinds}
    found = {(owner, name): id(v) for owner, it in owners.items() for name, v in vars(it).items()}
    return found | {("tensorflow", "look"): vars(sys.modules["tensorflow"]).get("__getattr__")}


class TestEverythingIsPutBack:
    @pytest.mark.parametrize("end", ["", "raise SystemExit"])
    def test_after_a_program_however_it_ends(self, end):
        with old_apis_available(lambda *_: None):  # imports tensorflow.keras, which stays
            pass
        before = state()
        try:
            bridging(
                "import numpy as np, keras\n"
                "import keras.layers.core, tensorflow.keras.layers.core\n"
                "from keras.utils import np_utils\nnp.float(1)\nkeras.optimizers.adam(lr=1).lr\n"
                f"from keras.engine.topology import Layer\n{end}"
            )
        except SystemExit:
            assert end
        assert state().items() ^ before.items() == set()
        assert not [
            name for name, module in sys.modules.items() if isinstance(module, _ModuleStandIn)
        ]

    def test_nothing_of_it_holds_afterwards(self):
        bridging("from keras.layers.core import Dense")
        for code in ("import keras.layers.core", "import numpy as np; np.float"):
            with pytest.raises((ImportError, AttributeError)):
                execute(code)

    def test_a_library_does_not_see_it(self):
        import numpy as np

        with old_apis_available(lambda *_: None):
            exec(compile("found = hasattr(np, 'float_')", np.__file__, "exec"), names := {"np": np})
        assert names["found"] is False


class TestNames:
    @pytest.mark.parametrize(
        "code",
        [
            "from keras.layers.core import Dense as a; from keras.layers import Dense as b",
            "import keras; a = keras.layers.core.Dense; b = keras.layers.Dense",
            "from tensorflow.keras.layers.core import Dense as a;"
            "import keras; b = keras.layers.Dense",
            "from keras.layers import core; a = core.Dense; b = __import__('keras').layers.Dense",
            "from keras.utils import np_utils; import keras; a = np_utils.to_categorical;"
            "b = keras.utils.to_categorical",
            "from keras.engine.topology import Layer as a; from keras.layers import Layer as b",
            "import keras.engine.topology; a = keras.engine.topology.Layer; b = keras.layers.Layer",
            "from keras.optimizers import adam as a, Adam as b",
            "import numpy as np; a, b = np.float_, np.float64",
            "import numpy as np; a, b = np.int, int",
            "from keras.layers import CuDNNLSTM as a, LSTM as b",
            "import tensorflow as tf; a, b = tf.log, tf.math.log",
        ],
    )
    def test_are_what_they_were(self, code):
        found, told = bridging(code)
        assert found["a"] is found["b"]
        assert list(told.values()) == [1]

    def test_each_is_told_once(self):
        _, told = bridging("import numpy as np\nnp.int(1)\nnp.int(2)\nnp.float(2)")
        assert told == {"numpy.int": 2, "numpy.float": 4}

    def test_functions_of_the_backend(self):
        found, _ = bridging(
            "import numpy as np\nfrom keras import backend as K\nv = K.variable(2.0)\n"
            "import keras\nw = keras.Variable(1.0)\n"
            "K.set_value(w, 3.0)\nK.update_add(w, 1.0)\nK.update_sub(w, 2.0)\n"
            "a = [float(K.sum(K.square(np.ones(3)))), float(K.mean(K.clip(np.arange(4.), 0, 1))),"
            "     K.flatten(np.ones((2, 3))).shape[0], float(K.get_value(w)), K.epsilon(),"
            "     K.image_dim_ordering(), K.concatenate([K.ones((2, 1)), K.ones((2, 2))]).shape[1]]"
        )
        assert found["a"] == [3.0, 0.75, 6, 2.0, 1e-7, "tf", 3]

    @pytest.mark.parametrize(
        ("mode", "expected"), [("sum", [[3.0]]), ("mul", [[2.0]]), ("concat", [[1.0, 2.0]])]
    )
    def test_merges(self, mode, expected):
        found, _ = bridging(
            "import numpy as np\nfrom keras.layers import Input, merge, Merge\n"
            "from keras.models import Model\n"
            f"a, b = Input((1,)), Input((1,))\nm = Model([a, b], merge([a, b], mode='{mode}'))\n"
            f"n = Model([a, b], Merge(mode='{mode}')([a, b]))\n"
            "x = [np.array([[1.]]), np.array([[2.]])]\n"
            "one, two = m(x).numpy().tolist(), n(x).numpy().tolist()"
        )
        assert found["one"] == found["two"] == expected

    @pytest.mark.parametrize("code", ["Merge([1, 2], mode='sum')", "merge([1, 2], mode='cos')"])
    def test_a_merge_that_cannot_be_had_says_so(self, code):
        with pytest.raises(NotImplementedError, match="not emulated"):
            bridging(f"from keras.layers import Merge, merge\n{code}")

    def test_a_model_for_several_devices_is_the_model(self):
        found, told = bridging(
            "from keras.utils import multi_gpu_model\nmodel = object()\n"
            "same = multi_gpu_model(model, gpus=2) is model"
        )
        assert found["same"]
        assert told == {"keras.utils.multi_gpu_model": 1}

    @pytest.mark.parametrize("name", ["Session", "placeholder"])
    def test_sessions_are_not_bridged(self, name):
        with pytest.raises(AttributeError):
            bridging(f"import tensorflow as tf\ntf.{name}")


class TestKeywords:
    @pytest.mark.parametrize(
        ("older", "today"),
        [
            ("Dense(output_dim=3, init='uniform')", "Dense(units=3, kernel_initializer='uniform')"),
            ("Dense(3, bias=False)", "Dense(3, use_bias=False)"),
            ("Convolution2D(4, 3, 2, border_mode='same')", "Conv2D(4, (3, 2), padding='same')"),
            (
                "Conv2D(nb_filter=4, nb_row=3, nb_col=2, subsample=(2, 1), dim_ordering='tf')",
                "Conv2D(4, (3, 2), strides=(2, 1), data_format='channels_last')",
            ),
            ("Conv1D(nb_filter=4, filter_length=3)", "Conv1D(4, 3)"),
            ("Dropout(p=0.25)", "Dropout(rate=0.25)"),
            ("LSTM(output_dim=4, dropout_U=0.5)", "LSTM(4, recurrent_dropout=0.5)"),
            ("LSTM(4, input_length=7, input_dim=2)", "LSTM(4, input_shape=(7, 2))"),
            ("MaxPooling2D((2, 2), border_mode='same')", "MaxPooling2D((2, 2), padding='same')"),
        ],
    )
    def test_of_layers(self, older, today):
        frame = (
            "from keras.layers import *\nlayer = {}\nshape = getattr(layer, '_input_shape_arg', 0)"
        )
        (before, told), (after, _) = (bridging(frame.format(code)) for code in (older, today))
        one, other = before["layer"].get_config(), after["layer"].get_config()
        assert {**one, "name": ""} == {**other, "name": ""}
        assert before["shape"] == after["shape"]
        assert set(told.values()) == {2}

    def test_rate_and_decay_do_what_they_did(self):
        found, told = bridging(
            "import keras, numpy as np\nfrom keras import backend as K\n"
            "sgd = keras.optimizers.SGD(lr=1, decay=0.5)\nv = keras.Variable(0.0)\n"
            "seen = []\n"
            "for _ in range(3):\n"
            "    sgd.apply([np.float32(1)], [v]); seen.append(round(float(v.numpy()), 4))\n"
            "K.set_value(sgd.lr, 10)\nbase = float(K.get_value(sgd.lr))\n"
            "sgd.apply([np.float32(1)], [v]); seen.append(round(float(v.numpy()), 4))\n"
            "sgd.learning_rate = 1.0\nsgd.apply([np.float32(1)], [v])\n"
            "seen.append(round(float(v.numpy()), 4))\nsgd.lr = 0.5\nlast = float(sgd.lr.numpy())\n"
            "config = keras.optimizers.SGD.from_config(sgd.get_config()).get_config()\n"
        )
        # 1/(1+0.5t): 1, 2/3, 1/2; then 10/(1+1.5) and 1/(1+2)
        assert found["seen"] == pytest.approx([-1, -1.6667, -2.1667, -6.1667, -6.5], abs=2e-4)
        assert (found["base"], found["last"]) == (10.0, 0.5)
        rate = found["config"]["learning_rate"]
        assert (rate["class_name"], rate["module"]) == (
            "InverseTimeDecay", "keras.optimizers.schedules",
        )  # fmt: skip
        assert rate["config"]["initial_learning_rate"] == 0.5
        assert {"lr= of keras.optimizers.Optimizer", "keras.optimizers.Optimizer.lr"} <= set(told)

    def test_epsilon_of_none_is_the_default(self):
        found, told = bridging(
            "import keras\na = keras.optimizers.Adam(epsilon=None).epsilon\n"
            "b = keras.optimizers.Adam(epsilon=1e-3).epsilon"
        )
        assert (found["a"], found["b"]) == (1e-7, 1e-3)
        assert list(told.values()) == [2]

    def test_of_functional_models(self):
        found, _ = bridging(
            "import keras\na = keras.Input((2,))\n"
            "m = keras.models.Model(input=a, output=keras.layers.Dense(3)(a))\n"
            "shape = m.output_shape, m.layers[1].input_shape, m.layers[1].output_shape"
        )
        assert type(found["m"]).__name__ == "Functional"
        assert found["shape"] == ((None, 3), (None, 2), (None, 3))

    def test_of_layers_that_are_made_for_one_batch_size(self):
        found, told = bridging(
            "import keras, numpy as np\nlayers = keras.layers\nmodel = keras.models.Sequential()\n"
            "model.add(layers.LSTM(3, batch_input_shape=(2, 4, 5), stateful=True))\n"
            "model.add(layers.Dense(1))\nmodel.predict(np.ones((2, 4, 5)), verbose=0)\n"
            "before = np.abs(model.layers[0].states[0].numpy()).max()\nmodel.reset_states()\n"
            "after = np.abs(model.layers[0].states[0].numpy()).max()\n"
            "free = keras.Sequential([layers.Dense(1, batch_input_shape=(None, 3))])"
        )
        assert found["model"].input_shape == (2, 4, 5)
        assert found["before"] > found["after"] == 0
        assert found["free"].input_shape == (None, 3)
        assert told == {"batch_input_shape= of a layer": 4, "keras.Model.reset_states": 8}

    def test_layers_of_the_program_are_made_as_ever(self):
        found, told = bridging(
            "import keras\nclass Own(keras.layers.Layer):\n"
            "    def call(self, x):\n        return x\n"
            "class Named(keras.layers.Dense):\n    def __init__(self, size, **kwargs):\n"
            "        super().__init__(output_dim=size, **kwargs)\n"
            "name = Own(name='mine', input_shape=(3,)).name\n"
            "config = Named(2, name='head').get_config()"
        )
        assert found["name"] == "mine"
        assert (found["config"]["units"], found["config"]["name"]) == (2, "head")
        assert told == {"output_dim= of keras.layers.Dense": 7}

    def test_of_functions(self):
        found, _ = bridging(
            "from keras.utils import to_categorical\nfrom tensorflow.keras import utils\n"
            "a = to_categorical([1], nb_classes=3).tolist()\n"
            "b = utils.to_categorical([1], nb_classes=3).tolist()"
        )
        assert found["a"] == found["b"] == [[0.0, 1.0, 0.0]]


MODEL = """
import numpy as np, keras
keras.utils.set_random_seed(0)
x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
model.compile("sgd", "mse", metrics=["accuracy"])
def batches():
    while True:
        yield x[:4], y[:4]
"""


class TestTraining:
    def test_from_generators(self):
        found, _ = bridging(
            MODEL + "h = model.fit_generator(batches(), samples_per_epoch=16, nb_epoch=2, "
            "verbose=0, workers=2, max_q_size=4)\nsteps = int(model.optimizer.iterations.numpy())\n"
            "loss = model.evaluate_generator(batches(), steps=2)\n"
            "out = model.predict_generator(batches(), val_samples=8).shape\n"
            "classes, sure = model.predict_classes(x, verbose=0), model.predict_proba(x, verbose=0)"
        )
        assert (found["steps"], len(found["loss"]), found["out"]) == (8, 2, (8, 1))
        assert found["classes"].tolist() == (found["sure"] > 0.5).astype(int).tolist()

    def test_logs_answer_to_their_older_names(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        found, _ = bridging(
            MODEL + "import pickle\nseen = []\n"
            "class Own(keras.callbacks.Callback):\n"
            "    def on_epoch_end(self, epoch, logs=None):\n"
            "        seen.append((logs['val_acc'], logs.get('acc'), 'acc' in logs))\n"
            "stop = keras.callbacks.EarlyStopping(monitor='val_acc', patience=9)\n"
            "save = keras.callbacks.ModelCheckpoint('{epoch}-{val_acc:.1f}.hdf5', period=2)\n"
            "h = model.fit(x, y, nb_epoch=2, validation_data=(x, y), verbose=0, "
            "callbacks=[Own(), stop, save])\n"
            "plain = type(pickle.loads(pickle.dumps(h.history)))\n"
            "names, acc = list(h.history), h.history['val_acc']\n"
        )
        assert len(found["acc"]) == len(found["seen"]) == 2
        assert all(value is not None and there for *_, value, there in found["seen"])
        assert found["stop"].best == found["acc"][0]
        assert found["names"] == ["accuracy", "loss", "val_accuracy", "val_loss"]
        assert found["plain"] is dict
        assert [path.suffix for path in tmp_path.iterdir()] == [".hdf5"]
        with pytest.raises(KeyError):
            found["h"].history["auc"]

    def test_metrics_that_are_called_acc_stay(self):
        found, told = bridging(
            MODEL + "model.compile('sgd', 'mse', metrics=['acc'])\n"
            "stop = keras.callbacks.EarlyStopping(monitor='acc')\n"
            "h = model.fit(x, y, verbose=0, callbacks=[stop]); a = h.history['acc']"
        )
        assert told == {}
        assert found["stop"].monitor == "acc"

    def test_files_of_weights_and_of_models(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        found, _ = bridging(
            MODEL + "model.fit(x, y, verbose=0)\n"
            "model.save_weights('w.h5', overwrite=True)\nmodel.save('m.h5')\n"
            "kernel = model.get_weights()[0].tolist()\n"
            "model.set_weights([w * 0 for w in model.get_weights()])\nmodel.load_weights('w.h5')\n"
            "again = keras.models.load_model('m.h5')\nagain.fit(x, y, verbose=0)\n"
            "third = model.get_weights()[0].tolist()\nlr = float(again.optimizer.lr.numpy())\n"
            "steps = int(again.optimizer.iterations.numpy())"
        )
        assert found["third"] == found["kernel"]
        assert found["steps"] == 2  # one before it was saved
        assert found["lr"] == pytest.approx(0.01)


@pytest.mark.parametrize("as_list", [True, False])
def test_files_that_keras_2_wrote_are_read(as_list, tmp_path):
    import json

    import h5py
    import numpy as np

    scheme = {"class_name": "VarianceScaling", "config": {"scale": 1.0, "mode": "fan_avg"}}
    dense = {
        "name": "dense_1", "trainable": True, "batch_input_shape": [None, 2], "units": 1,
        "activation": "sigmoid", "kernel_initializer": scheme, "bias_regularizer": None,
    }  # fmt: skip
    layers = [{"class_name": "Dense", "config": dense}]
    rates = {"lr": 0.25, "decay": 0.5, "beta_1": 0.9, "epsilon": 1e-7}
    config = layers if as_list else {"name": "sequential_1", "layers": layers}
    training = {
        "optimizer_config": {"class_name": "Adam", "config": rates}, "loss": "mse",
        "metrics": ["accuracy"], "sample_weight_mode": None, "loss_weights": None,
    }  # fmt: skip
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config})
        file.attrs["training_config"] = json.dumps(training)
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [b"dense_1"]
        group = weights.create_group("dense_1")
        group.attrs["weight_names"] = [b"dense_1/kernel:0", b"dense_1/bias:0"]
        group["dense_1/kernel:0"] = np.array([[1.0], [2.0]], "float32")
        group["dense_1/bias:0"] = np.array([3.0], "float32")
    found, told = bridging(
        "import keras, numpy as np\nmodel = keras.models.load_model(path)\n"
        "out = model.predict(np.zeros((1, 2)), verbose=0)\nlr = float(model.optimizer.lr.numpy())\n"
        "model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)\n"
        "rate = float(model.optimizer.learning_rate.numpy())",
        path=str(tmp_path / "old.h5"),
    )
    assert found["out"].item() == pytest.approx(1 / (1 + np.exp(-3)))
    assert found["lr"] == 0.25
    assert found["rate"] == pytest.approx(0.25 / 1.5)
    assert told["a file of Keras 2"] == 2


def error_of(code: str, tmp_path) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of every kind
        execute(code)
    return caught.value


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("import keras.layers.core", "keras.layers.core"),
        ("from keras.engine.topology import Layer", "keras.engine"),
        ("from tensorflow.keras.layers.core import Dense", "keras.layers.core"),
        ("from keras.utils import np_utils", "keras.utils.np_utils"),
        ("import keras; keras.backend.sum", "keras.backend.sum"),
        ("import tensorflow as tf; tf.Session()", "tensorflow.Session"),
        ("import numpy as np; np.float", "numpy.float"),
        ("import numpy as np; np.Inf", "numpy.Inf"),
        ("import keras; keras.optimizers.SGD(lr=1.0)", "lr= of keras.optimizers.Optimizer"),
        ("import keras; keras.optimizers.SGD().lr", "keras.optimizers.Optimizer.lr"),
        ("import keras; keras.layers.Dense(output_dim=3)", "output_dim= of keras.layers.Dense"),
        ("import keras; keras.layers.Dense(3, init='a')", "init= of keras.layers.Dense"),
        (
            "import keras; keras.layers.Dense(1, batch_input_shape=(1, 2))",
            "batch_input_shape= of a layer",
        ),
        ("import keras; keras.Model(input=1, output=2)", "input= of keras.Model"),
        (MODEL + "model.fit(x, y, nb_epoch=1)", "nb_epoch= of keras.Model.fit"),
        (MODEL + "model.fit_generator(batches())", "keras.Model.fit_generator"),
        (MODEL + "model.evaluate(x, y, workers=1)", "workers= of keras.Model.evaluate"),
        (MODEL + "model.fit(x, y, verbose=0).history['acc']", "history['acc']"),
        (MODEL + "model.save_weights('w.h5')", "save_weights('….h5')"),
        ("import keras; keras.callbacks.ModelCheckpoint('a.hdf5')", "a checkpoint in .hdf5"),
        ("{}['acc']", None),
        ("history = {}; history['accuracy']", None),
        ("import keras; keras.layers.Dense(3, nonsense=1)", None),
        ("import keras; keras.nonsense", None),
        ("object().lr", None),
        ("1 / 0", None),
    ],
)
def test_an_error_is_recognised(code, shown, tmp_path):
    found = find_rename(error_of(code, tmp_path), code.rpartition("\n")[2])
    assert (found and found.display_name.partition(" (")[0]) == shown
