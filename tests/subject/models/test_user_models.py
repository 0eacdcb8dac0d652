"""Models of the user's: from code, from files, compiled, with weights; data that fit into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saldiag.core.errors import DataError, ModelError, SaldiagError, WeightsError
from saldiag.core.measurement import Source
from tests.support import models

pytestmark = pytest.mark.tensorflow

PROGRAM = """
import keras
from keras import layers

def model():
    made = uncompiled()
    made.compile(keras.optimizers.SGD(0.1), "mse")
    return made

def uncompiled():
    return keras.Sequential([keras.Input((4,)), layers.Dense(2)])

def scheduled():
    made = uncompiled()
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.9)
    made.compile(keras.optimizers.SGD(rate), "mse")
    return made

class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)

@keras.saving.register_keras_serializable("mine")
class Double(layers.Layer):
    def call(self, x):
        return 2 * x

class Plain(layers.Layer):
    def call(self, x):
        return x

def squared(true, predicted):
    return (true - predicted) ** 2

class Loss(keras.losses.Loss):
    def call(self, true, predicted):
        return (true - predicted) ** 2

def text():
    return "no model"

def broken():
    return 1 / 0

def leaves():
    raise SystemExit(3)

def sized(size, depth=1):
    return model()

made = uncompiled()
number = 3
"""


def own(model: str, **options: Any) -> Any:
    from saldiag.app.loading.user_model import load_user_model
    from saldiag.app.session.request import ModelRequest
    from saldiag.core.files.fingerprints import FilesSeen
    from saldiag.subject.models.spec import parse_model_spec

    return load_user_model(ModelRequest(parse_model_spec(model), **options), FilesSeen())


@pytest.mark.parametrize("spec", ["net.py:model", "net:model", "./net.py:model"])
def test_a_function_that_makes_a_model(spec: str, here: Path) -> None:
    found = own(spec)
    assert (found.model.loss, float(found.model.optimizer.learning_rate)) == (
        "mse", pytest.approx(0.1),
    )  # fmt: skip
    source = found.sources[id(found.model.layers[0])]
    assert isinstance(source, Source)
    assert "layers.Dense(2)" in source.text
    assert found.input_spec.inputs[0][1] == (None, 4)
    assert found.input_spec.output_shape == (None, 2)


def test_an_object_a_class_and_a_dotted_name(here: Path) -> None:
    assert own("net.py:made", loss="mse").model.name.startswith("sequential")
    assert own("net.py:Net", loss="mse").input_spec.inputs == ()
    (here / "package").mkdir()
    (here / "package" / "inner.py").write_text("import net\nclass Made:\n  build = net.model\n")
    assert own("package.inner:Made.build").model.compiled


def test_a_file_is_run_once_and_finds_its_neighbours(here: Path) -> None:
    folder = here / "my nets"
    folder.mkdir()
    (folder / "neighbour.py").write_text("import net\nmodel = net.model\n")
    (folder / "v-2.py").write_text(
        "import sys\nsys.path.append('.')\nfrom neighbour import model\n"
        "with open('runs', 'a') as file: file.write('x')\n"
    )
    own("my nets/v-2.py:model")
    own("my nets/v-2.py:model")
    assert Path("runs").read_text() == "x"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nowhere:model", "no module nowhere, neither in the working directory nor installed"),
        ("net.deeper:model", "--model net.deeper: "),
        ("net:modle", r"--model net:modle: no attribute modle \(did you mean model\?\)"),
        ("net:zzzzzz", "no attribute zzzzzz .there are model, uncompiled"),
        ("net:text", "a Keras 3 model was expected, this is str"),
        ("net:number", "a Keras 3 model was expected, this is int"),
        ("net:sized", r"requires arguments \(size\)"),
        ("net:broken", r"ZeroDivisionError: division by zero \(net.py:\d+\)"),
        ("net:leaves", "called exit.. .exit code 3"),
        ("syntax.py:model", "--model syntax.py: SyntaxError"),
        ("imports.py:model", r"ModuleNotFoundError: No module named 'nonsense'.*imports.py:1"),
        ("net:uncompiled", "the model is not compiled.*--loss"),
    ],
)
def test_code_that_gives_no_model(spec: str, said: str, here: Path) -> None:
    (here / "syntax.py").write_text("def (:")
    (here / "imports.py").write_text("import nonsense\n")
    with pytest.raises(ModelError, match=said) as raised:
        own(spec)
    assert "\n" not in str(raised.value)


def test_loss_optimizer_and_rate_as_asked(here: Path) -> None:
    model = own("net:uncompiled", loss="mse").model
    assert type(model.optimizer).__name__ == "Adam"
    model = own("net:model", loss="mae").model
    assert type(model.optimizer).__name__ == "SGD"
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    assert model.loss.name == "mean_absolute_error"
    model = own("net:model", optimizer="rmsprop", learning_rate=0.5).model
    assert type(model.optimizer).__name__ == "RMSprop"
    assert float(model.optimizer.learning_rate) == 0.5
    model = own("net:model", learning_rate=0.25).model
    assert (model.loss, float(model.optimizer.learning_rate)) == ("mse", 0.25)
    assert not model.jit_compile


@pytest.mark.parametrize("loss", ["net.py:squared", "net:Loss", "huber", "dice"])
def test_losses_by_name_and_from_code(loss: str, here: Path) -> None:
    assert own("net:uncompiled", loss=loss).model.compiled


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": "mze"}, r"no loss is called 'mze': did you mean mse\?"),
        ({"loss": "net:none"}, "--loss net:none: no attribute none"),
        ({"optimizer": "adem"}, r"no optimizer is called 'adem': did you mean adam\?"),
    ],
)
def test_a_loss_or_optimizer_that_is_not_there(
    options: dict[str, Any], said: str, here: Path
) -> None:
    with pytest.raises(SaldiagError, match=said):
        own("net:model", **options)


def test_a_schedule_is_not_replaced_by_a_number(here: Path) -> None:
    with pytest.raises(SaldiagError, match=r"has a schedule.*--optimizer"):
        own("net:scheduled", learning_rate=0.1)
    assert own("net:scheduled", optimizer="sgd", learning_rate=0.1).model.compiled


def saved(name: str, *extra: Any, loss: Any = "mse") -> str:
    """A model on the disk, whose optimizer has its variables, as after a training."""
    import keras

    model = models.sequential((4,), *extra, keras.layers.Dense(2))
    if loss is not None:
        model.compile(keras.optimizers.SGD(0.5), loss)
        model.optimizer.build(model.trainable_variables)
    model.save(name)
    return name


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "two words.hdf5"])
def test_a_saved_model_as_it_was_compiled(name: str, here: Path) -> None:
    model = own(saved(name)).model
    assert model.loss == "mse"
    assert float(model.optimizer.learning_rate) == 0.5
    assert own(name, loss="mae").model.loss.name == "mean_absolute_error"


@pytest.mark.parametrize("name", ["a.keras", "a.h5"])
def test_a_saved_model_can_take_a_step(name: str, here: Path) -> None:
    """The optimizer of an HDF5 file comes from Keras without the variables that it trains."""
    model = own(saved(name)).model
    x = np.ones((2, *model.input_shape[1:]), np.float32)
    assert np.isfinite(model.train_on_batch(x, model.predict(x, verbose=0) + 1))


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_saved_model_without_a_loss(suffix: str, here: Path) -> None:
    name = saved(f"a.{suffix}", loss=None)
    with pytest.raises(ModelError, match=f"a.{suffix}: the model is not compiled.*--loss"):
        own(name)
    assert own(name, loss="mse").model.compiled


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_python_code_in_a_file_runs_only_if_it_is_allowed(
    suffix: str, keras: Any, here: Path
) -> None:
    name = saved(f"a.{suffix}", keras.layers.Lambda(lambda x: 2 * x))
    with pytest.raises(ModelError, match=r"Lambda layer .* --unsafe-load if you trust"):
        own(name)
    assert own(name, unsafe_load=True).model.compiled


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("kind", ["Double", "Plain"])
def test_layers_of_the_users_own(kind: str, suffix: str, here: Path) -> None:
    import keras

    script = {}
    exec(compile(PROGRAM, "elsewhere.py", "exec"), script)
    name = saved(f"a.{suffix}", script[kind]())
    registered = keras.saving.get_custom_objects()
    registered.pop("mine>Double", None)
    with pytest.raises(
        ModelError, match=f"{kind}, which is not part of Keras: pass --custom-objects MODULE"
    ):
        own(name)
    assert own(name, custom_objects=("net.py",)).model.compiled
    registered.pop("mine>Double", None)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_loss_of_the_users_own(suffix: str, here: Path) -> None:
    script = {}
    exec(compile(PROGRAM, "elsewhere.py", "exec"), script)
    name = saved(f"a.{suffix}", loss=script["squared"])
    with pytest.raises(ModelError, match="squared, which is not part of Keras"):
        own(name)
    assert own(name, custom_objects=("net",)).model.compiled
    assert own(name, loss="mse").model.compiled


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.keras", b"text", "a.keras: damaged, or not a .keras file"),
        ("a.keras", b"", "damaged, or not a .keras file"),
        ("a.h5", b"text", "a.h5: damaged, or not an HDF5 file"),
        ("a.KERAS", b"", "Keras loads it only under the name a.keras"),
    ],
)
def test_damaged_files(name: str, content: bytes, said: str, here: Path) -> None:
    (here / name).write_bytes(content)
    with pytest.raises(ModelError, match=said):
        own(name)


def test_a_zip_that_is_no_model(here: Path) -> None:
    np.savez("a.npz", x=np.zeros(1))
    Path("a.npz").rename("a.keras")
    with pytest.raises(ModelError, match=r"--model a.keras: cannot be loaded"):
        own("a.keras")


def test_custom_objects_that_are_not_there(here: Path) -> None:
    saved("a.keras")
    with pytest.raises(ModelError, match=r"--custom-objects none.py: no such file"):
        own("a.keras", custom_objects=("none.py",))
    with pytest.raises(ModelError, match=r"--custom-objects nowhere: no module nowhere"):
        own("a.keras", custom_objects=("nowhere",))


def weighted(model: str, weights: str) -> Any:
    from saldiag.app.loading.user_model import load_user_weights
    from saldiag.app.session.request import ModelRequest
    from saldiag.subject.models.spec import parse_model_spec

    found = own(model, loss="mse").model
    load_user_weights(
        ModelRequest(parse_model_spec(model), weights=weights), found, np.zeros((1, 4), np.float32)
    )
    return found


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras", "w.h5"])
def test_weights_from_a_file(name: str, here: Path) -> None:
    model = own("net:model").model
    model.optimizer.build(model.trainable_variables)
    (model.save_weights if ".weights" in name else model.save)(name)
    kernel = model.layers[0].kernel.numpy()
    np.testing.assert_array_equal(weighted("net:model", name).layers[0].kernel, kernel)


def test_weights_alone_are_no_model_and_build_one(here: Path) -> None:
    net = own("net:Net", loss="mse").model
    net(np.zeros((1, 4)))
    net.save_weights("w.weights.h5")
    with pytest.raises(ModelError, match=r"contains only weights.*--weights w.weights.h5"):
        own("w.weights.h5")
    np.testing.assert_array_equal(
        weighted("net:Net", "w.weights.h5").dense.kernel, net.dense.kernel
    )


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("imagenet", "--weights imagenet is for registered models"),
        ("none.h5", "--weights none.h5: no such file"),
        ("net.py", "expected a .weights.h5, .keras or .h5 file"),
        ("bad.weights.h5", "bad.weights.h5: damaged, or saved from another model"),
    ],
)
def test_weights_that_cannot_be_had(weights: str, said: str, here: Path) -> None:
    (here / "bad.weights.h5").write_bytes(b"text")
    with pytest.raises(WeightsError, match=said):
        weighted("net:model", weights)


def fits(inputs: Any, x: Any) -> None:
    from saldiag.subject.models.input_spec import InputSpec, check_input_shapes

    check_input_shapes(InputSpec(inputs), x, "--model m", "--data d")


def test_data_that_fit() -> None:
    four = (("a", (None, 4)),)
    fits((), np.zeros(3))
    fits(four, np.zeros((8, 4)))
    fits((("a", (None, None, None, 3)),), np.zeros((8, 5, 6, 3)))
    fits((("a", (None, 1)),), np.zeros(8))
    fits((("a", (None,)),), np.zeros((8, 1)))
    fits((*four, ("b", (None, 2))), {"b": np.zeros((8, 2)), "a": np.zeros((8, 4))})
    fits((*four, ("b", (None, 2))), [np.zeros((8, 4)), np.zeros((8, 2))])


@pytest.mark.parametrize(
    ("inputs", "x", "said"),
    [
        ((("a", (None, 4)),), (8, 5), r"has shape \(8, 5\), the model expects \(None, 4\)$"),
        ((("a", (None, 4)),), (4,), r"the dataset is not batched, add .batch\(8\)"),
        ((("a", (None, 4)), ("b", (None, 2))), (8, 4), r"has 1 \(8, 4\), .* expects a .* b \("),
    ],
)
def test_data_that_do_not_fit_are_told_with_both_shapes(inputs: Any, x: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        fits(inputs, np.zeros(x))
    with pytest.raises(DataError, match="--data d does not fit --model m"):
        fits((*inputs, ("c", (None, 2))), {"a": np.zeros((8, 4))})
