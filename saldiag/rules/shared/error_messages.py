"""What errors of Keras and TensorFlow mean, where that is certain: a table of their messages.

An entry consists of a pattern of the message, an explanation, and a fix. Both texts are filled with
the pattern's named groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from saldiag.core.measurement import ProgramError
from saldiag.core.wording import masked

SHAPE = r"[\[(][^\])]*[\])]"
LONGEST_GROUP = 120
"""Characters of a value quoted from a message: names come from the user's program."""


@dataclass(frozen=True)
class Meaning:
    """One kind of error."""

    key: str
    """Name of the kind, unique in the table."""
    pattern: str
    """Regular expression that is searched in the message; its named groups fill both texts."""
    says: str
    """Explanation, a format string."""
    fix: str
    """What to change, a format string."""
    kinds: tuple[str, ...] = ()
    """Names of the exception types it applies to; empty: any."""

    def match(self, kind: str, message: str) -> Mapping[str, str] | None:
        """The pattern's named groups on one line; None if the message is of another kind."""
        if self.kinds and kind not in self.kinds:
            return None
        found = re.search(self.pattern, message)
        return found and {
            name: _printable_and_short(value) for name, value in found.groupdict("").items()
        }


def _printable_and_short(text: str) -> str:
    plain = masked(text)
    return plain if len(plain) <= LONGEST_GROUP else f"{plain[: LONGEST_GROUP - 1]}…"


_OF_LAYER = r"Input \d+ (?:with name '[^']*' )?of layer ['\"](?P<layer>.+?)['\"] is incompatible.*?"

_SHAPES = (
    Meaning(
        "axis",
        _OF_LAYER + r"expected axis (?P<axis>-?\d+) of input shape to have value (?P<want>\d+), "
        rf"but received input with shape (?P<got>{SHAPE})",
        "layer {layer} was built for inputs of size {want} along axis {axis}, but gets inputs of "
        "shape {got}",
        "keras.Input(shape=…)  # the shape of the data; or give the model data of size {want} "
        "along axis {axis}",
    ),
    Meaning(
        "axes",
        _OF_LAYER + r"expected (?P<limit>min_|max_)?ndim=(?P<want>\d+), found ndim=(?P<found>\d+)"
        rf"\. Full shape received: (?P<got>{SHAPE})",
        "layer {layer} expects inputs of rank {want} (including the batch axis), but gets rank "
        "{found}: shape {got}",
        "x[..., None]  # adds a missing axis (an LSTM before it needs return_sequences=True); "
        "Flatten or global pooling removes one",
    ),
    Meaning(
        "concatenate",
        r"`Concatenate` layer requires inputs with matching shapes except for the concatenation "
        r"axis\. Received: input_shape=(?P<got>\[.*?\)\])",
        "a Concatenate layer gets inputs of shapes {got}, which differ along an axis other than "
        "the concatenation axis",
        "keras.layers.Concatenate(axis=…)  # the axis that differs; or crop, pad or pool the "
        "inputs to equal sizes",
    ),
    Meaning(
        "merge",
        rf"Inputs have incompatible shapes\. Received shapes (?P<one>{SHAPE}) and "
        rf"(?P<other>{SHAPE})",
        "a layer that adds, multiplies or averages gets inputs of shapes {one} and {other} "
        "(without the batch axis)",
        "Give both branches the same shape, with a Dense layer or 1x1 convolution on one of them",
    ),
    Meaning(
        "reshape",
        rf"total size of the tensor must be unchanged\. Received: input_shape=(?P<got>{SHAPE}), "
        rf"target_shape=(?P<want>{SHAPE})",
        "a Reshape layer turns {got} into {want}, which has a different number of values",
        "keras.layers.Reshape(…)  # as many values as the input has; -1 infers one axis",
    ),
    Meaning(
        "used up",
        r"Computed output size would be zero or negative\. Received:? `inputs[ .]shape="
        rf"(?P<got>{SHAPE})`, `(?:kernel[ _]shape|pool_size|kernel_size)=(?P<window>{SHAPE})",
        "a convolution or pooling with window {window} leaves no output for its input of shape "
        "{got}",
        'padding="same"  # or larger inputs, or fewer of these layers',
    ),
    Meaning(
        "unknown size",
        rf"Shapes used to initialize variables must be fully-defined.*?Received: shape="
        rf"(?P<got>{SHAPE}) for variable path='(?P<path>[^']*)'",
        "the weight {path} would have shape {got}: the size of the layer's input is unknown",
        "keras.Input(shape=…)  # with fixed sizes; or global pooling instead of Flatten",
    ),
    Meaning(
        "loss shapes",
        r"(?:Dimensions must be equal, but are \d+ and \d+|Incompatible shapes).*?"
        r"node (?P<loss>compile_loss/\w+).*?input shapes: (?P<one>\[[^\]]*\]), "
        r"(?P<other>\[[^\]]*\])",
        "the loss ({loss}) compares targets and predictions of shapes {one} and {other}",
        "Dense(…)  # last layer: as many units as a target has values",
    ),
    Meaning(
        "node shapes",
        r"Dimensions must be equal, but are (?P<a>\d+) and (?P<b>\d+) for '{{node (?P<node>\S+)}}"
        r".*?input shapes: (?P<one>\[[^\]]*\]), (?P<other>\[[^\]]*\])",
        "the operation {node} gets tensors of shapes {one} and {other}: sizes {a} and {b} do not "
        "match",
        "print(x.shape)  # in call(), to find where the sizes start to differ",
    ),
    Meaning(
        "matrices",
        rf"Matrix size-incompatible: In\[0\]: (?P<one>{SHAPE}), In\[1\]: (?P<other>{SHAPE})",
        "a matrix product gets shapes {one} and {other}: the columns of the first do not match "
        "the rows of the second",
        "keras.ops.transpose(…)  # one of the matrices, or correct its shape",
    ),
)

_LABELS = (
    Meaning(
        "class numbers",
        r"Arguments `target` and `output` must have the same (?:rank \(ndim\)|shape)\. Received: "
        rf"target\.shape=(?P<target>\((?:None|\d+),(?: 1)?\)), output\.shape=(?P<output>{SHAPE})",
        "the targets have shape {target}, one number per sample, but the predictions have shape "
        "{output}, one number per class",
        'loss="sparse_categorical_crossentropy"  # for class indices; or one-hot targets: '
        "keras.utils.to_categorical(y); for binary_crossentropy, as many units as target values",
    ),
    Meaning(
        "target shape",
        r"Arguments `target` and `output` must have the same (?:rank \(ndim\)|shape)\. Received: "
        rf"target\.shape=(?P<target>{SHAPE}), output\.shape=(?P<output>{SHAPE})",
        "the targets have shape {target}, but the predictions have shape {output}",
        "Dense(…)  # last layer: as many units as a target has values",
    ),
    Meaning(
        "one-hot",
        r"Argument `output` must have rank \(ndim\) `target\.ndim - 1`\. Received: "
        rf"target\.shape=(?P<target>{SHAPE}), output\.shape=(?P<output>{SHAPE})",
        "sparse_categorical_crossentropy expects class indices, but gets one-hot targets of shape "
        "{target} for predictions of shape {output}",
        'loss="categorical_crossentropy"  # or class indices: y.argmax(axis=-1)',
    ),
    Meaning(
        "label range",
        r"Received a label value of (?P<value>-?\d+) which is outside the valid range of "
        r"\[0, (?P<classes>\d+)\)",
        "a label is {value}, but the last layer has {classes} units: labels must be at least 0 and "
        "below {classes}",
        "Dense(…)  # last layer: as many units as classes; class indices start at 0",
    ),
    Meaning(
        "embedding range",
        r"node (?P<node>\S*?)/(?:GatherV2|embedding_lookup).*?"
        r"indices\[[\d,]*\] = (?P<value>-?\d+) is not in \[0, (?P<size>\d+)\)",
        "an input of the embedding {node} is {value}, but the embedding has {size} rows: indices "
        "must be at least 0 and below {size}",
        "keras.layers.Embedding(…)  # input_dim: the largest index + 1",
    ),
)

_FEEDING = (
    Meaning(
        "sizes",
        r"Data cardinality is ambiguous.*?'?x'? sizes: (?P<x>[\d, ]+?) *'?y'? sizes: "
        r"(?P<y>[\d, ]+)",
        "inputs and targets have different numbers of samples: {x} and {y}",
        "assert len(x) == len(y)  # find where one of them loses samples",
    ),
    Meaning(
        "inputs",
        r"Layer ['\"](?P<layer>.+?)['\"] expects (?P<want>\d+) (?:named )?inputs?(?:\(s\))?.*?"
        r"received (?P<got>\d+) input tensors",
        "inputs of model {layer}: {want} expected, {got} given",
        "model.fit([first, second], y)  # one array for each keras.Input, in order",
    ),
    Meaning(
        "input names",
        r"Missing data for input ['\"](?P<name>.+?)['\"]\. You passed a data dictionary with keys "
        r"(?P<got>\[.*?\])\. Expected the following keys: (?P<want>\[.*?\])",
        "the data has the keys {got}, but the model's inputs are named {want}",
        "keras.Input(…, name=…)  # the same names as the data's keys",
    ),
    Meaning(
        "outputs",
        r"y_true and y_pred have different structures\. y_true: (?P<true>.*?) y_pred: "
        r"(?P<pred>.*)",
        "the targets have the structure {true}, but the model's outputs {pred} (* is an array)",
        "model.fit(x, [first, second])  # one array of targets for each output",
    ),
    Meaning(
        "losses",
        r"The path: \((?P<path>.*?),?\) in the `loss` argument, can't be found",
        "a loss is given for output {path}, but the model has no output with that number or name",
        "model.compile(loss=…)  # one loss for each output",
    ),
    Meaning(
        "loss names",
        r"Expected keys (?P<want>\[.*?\]) in loss dict, but found loss\.keys\(\)=(?P<got>\[.*?\])",
        "the losses are named {got}, but the outputs are named {want}",
        "model.compile(loss={{…}})  # keys: the names of the output layers",
    ),
    Meaning(
        "strings",
        r"Invalid dtype: (?P<dtype>(?:str|object|bytes)\d*)",
        "the data has dtype {dtype}: it contains text or rows of different lengths, not numbers",
        'x.astype("float32")  # text: keras.layers.StringLookup or TextVectorization first; '
        "sequences: keras.utils.pad_sequences first",
    ),
    Meaning(
        "lists",
        r"Unrecognized data type: x=.*\(of type <class '(?P<kind>[^']*)'>\)",
        "fit gets a {kind}, which Keras does not accept as data",
        "np.asarray(…)  # or a generator, a tf.data.Dataset or a keras.utils.PyDataset",
    ),
    Meaning(
        "data ended",
        r"End of sequence",
        "the data has ended: next() was called after the last batch",
        "dataset.repeat()  # or: for batch in dataset",
        kinds=("StopIteration", "OutOfRangeError"),
    ),
    Meaning(
        "memory",
        rf"OOM when allocating tensor with shape(?P<got>{SHAPE})",
        "there is not enough memory for a tensor of shape {got}",
        "model.fit(…, batch_size=…)  # a smaller batch, or a smaller model",
        kinds=("ResourceExhaustedError",),
    ),
)

_MODEL = (
    Meaning(
        "no gradient",
        r"No gradients provided for any variable",
        "no trainable variable has a gradient: the loss does not depend on any of them",
        "loss = …  # computed from these variables inside the tape, without argmax, round, "
        ".numpy() or stop_gradient",
    ),
    Meaning(
        "not compiled",
        r"You must call `compile\(\)` before",
        "the model was not compiled",
        'model.compile(optimizer="adam", loss=…)  # before training or evaluation',
    ),
    Meaning(
        "not built",
        r"(?:[Ll]ayer|model) '?(?P<layer>[\w./-]+)'?(?:, but the layer isn't built| has never been "
        r"called| has no defined inputs)|saving a model that has not yet been built",
        "the model or layer {layer} has no weights or inputs yet: it was never called",
        "keras.Input(shape=…)  # as the first layer; or model.build((None, …))",
    ),
    Meaning(
        "not connected",
        r"Output with path `(?P<path>[^`]*)` is not connected to `inputs`",
        "an output of the model does not depend on the given inputs",
        "keras.Model(inputs, outputs)  # the inputs that the outputs were computed from",
    ),
    Meaning(
        "symbolic",
        r"A KerasTensor (?:cannot be used as input to a TensorFlow function|is symbolic)",
        "a TensorFlow or NumPy function is called on a symbolic tensor while the model is built",
        "keras.ops.…  # or call the function in a custom layer",
    ),
    Meaning(
        "same name",
        r"should have unique names\. Name '(?P<name>.*?)' is already",
        "two layers are named {name}",
        'name="…"  # a different name for one of them',
    ),
    Meaning(
        "layer name",
        r"'(?P<name>.*?)' is not a valid (?:root )?scope name",
        "a layer or model is named {name}, which is not a valid TensorFlow name",
        'name="my_head"  # only letters, digits and . _ -',
    ),
    Meaning(
        "unknown name",
        r"Could not interpret (?P<what>[\w ]+?) identifier: (?P<name>.+)",
        "Keras has no {what} named {name}",
        "Correct the name; keras.activations, keras.losses and keras.optimizers list them",
    ),
)

_WEIGHTS = (
    Meaning(
        "no file",
        r"unable to open file: name = '(?P<file>.*?)', errno = 2|File not found: filepath="
        r"(?P<other>\S+?)\. ",
        "there is no file {file}{other}",
        "Correct the path to the file; relative paths start at the working directory",
    ),
    Meaning(
        "layer count",
        r"Layer count mismatch when loading weights from file\. Model expected (?P<want>\d+) "
        r"layers, found (?P<got>\d+) saved layers",
        "layers with weights: {want} in the model, {got} in the file",
        "Build the same model as the saved one; by_name=True loads the layers with equal names",
    ),
    Meaning(
        "variables",
        r"(?P<count>\d+) objects could not be loaded.*?Layer '(?P<layer>.*?)' expected "
        r"(?P<want>\d+) variables, but received (?P<got>\d+)",
        "variables of layer {layer}: {want} in the model, {got} in the file, which is of another "
        "model (layers not loaded: {count})",
        "Build the same model as the saved one; skip_mismatch=True skips such layers",
    ),
    Meaning(
        "variable shape",
        rf"variable\.shape=(?P<want>{SHAPE}), Received: value\.shape=(?P<got>{SHAPE})\. Target "
        r"variable: <Variable path=(?P<path>[^,]+),",
        "the weight {path} has shape {want}, but its value has shape {got}",
        "Build the same model as the saved one, with equal units and input shape",
    ),
    Meaning(
        "saved shape",
        rf"Shape mismatch in layer #\d+ ?\(named (?P<layer>.*?)\) ?for weight (?P<path>\S+)\. "
        rf"Weight expects shape (?P<want>{SHAPE})\. Received saved weight with shape "
        rf"(?P<got>{SHAPE})",
        "the weight {path} has shape {want} in the model, but {got} in the file",
        "Build the same model as the saved one, with equal units and input shape",
    ),
    Meaning(
        "weight list",
        r"`set_weights\(weights\)` on layer '(?P<layer>.*?)' with a weight list of length "
        r"(?P<got>\d+), but the layer was expecting (?P<want>\d+)",
        "weights of {layer}: {want} in the layer, {got} given",
        "set_weights(other.get_weights())  # from a model with the same layers",
    ),
    Meaning(
        "weight shape",
        rf"Layer (?P<layer>\S+) weight shape (?P<want>{SHAPE}) is not compatible with provided "
        rf"weight shape (?P<got>{SHAPE})",
        "a weight of {layer} has shape {want}, but gets a value of shape {got}",
        "set_weights(other.get_weights())  # from a model with the same layers",
    ),
    Meaning(
        "lambda",
        r"deserialization of a `Lambda` layer whose `function` is a Python lambda",
        "the file contains Python code (a Lambda layer), which Keras does not run by default",
        "load_model(…, safe_mode=False)  # only for files that you trust",
    ),
)

_REPLICAS = (
    Meaning(
        "part per replica",
        r"you are using a PerReplica object while not inside a replica context|"
        r"Attempt to convert a value \(PerReplica:.*unsupported type \(<class "
        r"'tensorflow\.python\.distribute\.values\.PerReplica'>\) to a Tensor",
        "a value with one part per replica is used outside of strategy.run, which fit of Keras 3 "
        "does under MultiWorkerMirroredStrategy: it supports replicas of one process only",
        "strategy.run(step, args=(x, y))  # in a custom training loop; fit works with "
        "MirroredStrategy",
    ),
    Meaning(
        "synchronization in a branch",
        r"`merge_call` called while defining a new graph or a tf\.function",
        "the replicas synchronize in a nested tf.function or a condition, which TensorFlow does "
        "not support. In Keras 3, gradient_accumulation_steps does this on several replicas",
        "Apply gradients directly in the function that strategy.run calls, without "
        "gradient_accumulation_steps and without @tf.function around it",
    ),
    Meaning(
        "uneven batch",
        r"Inputs to operation AddN of type AddN must have the same size and shape\. +Input 0: "
        r"\[(?P<one>\d+)(?P<rest>[,\d]*)\] != input \d+: \[(?P<other>\d+)(?P=rest)\]",
        "parts of {one} and {other} items of one batch are added: the batch is split unevenly over "
        "the replicas",
        "model.fit(…, batch_size=…)  # a multiple of strategy.num_replicas_in_sync",
    ),
)

MEANINGS: tuple[Meaning, ...] = (
    *_SHAPES,
    *_LABELS,
    *_FEEDING,
    *_MODEL,
    *_WEIGHTS,
    *_REPLICAS,
)
"""All kinds; the first whose pattern matches is used."""


OF_LABELS = frozenset({"class numbers", "target shape", "one-hot", "label range", "loss shapes"})
"""Keys of the errors about targets that do not fit the loss."""


def is_known(ended: ProgramError) -> bool:
    """Whether the meaning of an error is known."""
    return bool(ended.outdated) or meaning_of(ended.error, ended.message) is not None


def meaning_of(kind: str, message: str) -> tuple[Meaning, Mapping[str, str]] | None:
    """What an error means, with the values in its message; None if it is unknown.

    Args:
        kind: name of its exception type.
        message: its text, on one line.
    """
    for meaning in MEANINGS:
        found = meaning.match(kind, message)
        if found is not None:
            return meaning, found
    return None
