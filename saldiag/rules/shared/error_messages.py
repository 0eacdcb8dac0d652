"""What errors of Keras and TensorFlow mean, where that is certain: a table of their messages.

An entry is a pattern of the message, what it says, and what to do. Both texts are filled with the
pattern's named groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from saldiag.core.measurement import ProgramError

SHAPE = r"[\[(][^\])]*[\])]"
LONGEST_GROUP = 120
"""Characters of a value that is quoted from a message: names are the user's."""


@dataclass(frozen=True)
class Meaning:
    """One kind of error: ``pattern`` is searched in its message, ``says`` and ``fix`` are filled.

    ``kinds`` are the types that it has; empty: any.
    """

    key: str
    pattern: str
    says: str
    fix: str
    kinds: tuple[str, ...] = ()

    def match(self, kind: str, message: str) -> Mapping[str, str] | None:
        """The pattern's named groups, fit for one line; None where the error is another."""
        if self.kinds and kind not in self.kinds:
            return None
        found = re.search(self.pattern, message)
        return found and {name: _clean(value) for name, value in found.groupdict("").items()}


def _clean(text: str) -> str:
    plain = "".join(char if char.isprintable() else "?" for char in text)
    return plain if len(plain) <= LONGEST_GROUP else f"{plain[: LONGEST_GROUP - 1]}…"


_OF_LAYER = r"Input \d+ (?:with name '[^']*' )?of layer ['\"](?P<layer>.+?)['\"] is incompatible.*?"

_SHAPES = (
    Meaning(
        "axis",
        _OF_LAYER + r"expected axis (?P<axis>-?\d+) of input shape to have value (?P<want>\d+), "
        rf"but received input with shape (?P<got>{SHAPE})",
        "layer {layer} was built for inputs of {want} along axis {axis} and gets one of shape "
        "{got}",
        "keras.Input(shape=…)  # of the data as it is; or give the model data of {want} along "
        "axis {axis}",
    ),
    Meaning(
        "axes",
        _OF_LAYER + r"expected (?P<limit>min_|max_)?ndim=(?P<want>\d+), found ndim=(?P<found>\d+)"
        rf"\. Full shape received: (?P<got>{SHAPE})",
        "layer {layer} takes inputs of {want} axes (the batch counts) and gets {found}: shape "
        "{got}",
        "keras.layers.Reshape(…) or x[..., None] before it for a missing axis (of an LSTM below "
        "it return_sequences=True); Flatten or a global pooling for one too many",
    ),
    Meaning(
        "concatenate",
        r"`Concatenate` layer requires inputs with matching shapes except for the concatenation "
        r"axis\. Received: input_shape=(?P<got>\[.*?\)\])",
        "a Concatenate layer gets inputs of shapes {got}, which differ along another axis than "
        "the one that is joined",
        "keras.layers.Concatenate(axis=…)  # the axis that differs; or crop, pad or pool the "
        "others alike",
    ),
    Meaning(
        "merge",
        rf"Inputs have incompatible shapes\. Received shapes (?P<one>{SHAPE}) and "
        rf"(?P<other>{SHAPE})",
        "a layer that adds, multiplies or averages gets inputs of shapes {one} and {other} "
        "(without the batch)",
        "give both branches one shape: a Dense or 1x1 convolution of as many units on the other",
    ),
    Meaning(
        "reshape",
        rf"total size of the tensor must be unchanged\. Received: input_shape=(?P<got>{SHAPE}), "
        rf"target_shape=(?P<want>{SHAPE})",
        "a Reshape turns {got} into {want}, which holds another number of values",
        "keras.layers.Reshape(…)  # as many values as come in, or -1 for one axis",
    ),
    Meaning(
        "used up",
        r"Computed output size would be zero or negative\. Received:? `inputs[ .]shape="
        rf"(?P<got>{SHAPE})`, `(?:kernel[ _]shape|pool_size|kernel_size)=(?P<window>{SHAPE})",
        "a convolution or pooling with a window of {window} has nothing left of its input of "
        "shape {got}",
        'padding="same"  # or larger inputs, or fewer of these layers',
    ),
    Meaning(
        "unknown size",
        rf"Shapes used to initialize variables must be fully-defined.*?Received: shape="
        rf"(?P<got>{SHAPE}) for variable path='(?P<path>[^']*)'",
        "the weight {path} would have shape {got}: the size of the layer's input is not known",
        "keras.Input(shape=…)  # with numbers where this layer needs them; or a global pooling "
        "instead of Flatten",
    ),
    Meaning(
        "loss shapes",
        r"(?:Dimensions must be equal, but are \d+ and \d+|Incompatible shapes).*?"
        r"node (?P<loss>compile_loss/\w+).*?input shapes: (?P<one>\[[^\]]*\]), "
        r"(?P<other>\[[^\]]*\])",
        "the loss ({loss}) compares targets and predictions of shapes {one} and {other}",
        "Dense(…)  # the last layer: as many units as a target has values",
    ),
    Meaning(
        "node shapes",
        r"Dimensions must be equal, but are (?P<a>\d+) and (?P<b>\d+) for '{{node (?P<node>\S+)}}"
        r".*?input shapes: (?P<one>\[[^\]]*\]), (?P<other>\[[^\]]*\])",
        "the operation {node} gets tensors of shapes {one} and {other}: {a} and {b} do not fit",
        "give both the same size there: look at the shapes with print(x.shape) in call()",
    ),
    Meaning(
        "matrices",
        rf"Matrix size-incompatible: In\[0\]: (?P<one>{SHAPE}), In\[1\]: (?P<other>{SHAPE})",
        "a matrix product gets shapes {one} and {other}: the first's columns are not the "
        "second's rows",
        "keras.ops.transpose(…)  # of one of them, or the shape that fits",
    ),
)

_LABELS = (
    Meaning(
        "class numbers",
        r"Arguments `target` and `output` must have the same (?:rank \(ndim\)|shape)\. Received: "
        rf"target\.shape=(?P<target>\((?:None|\d+),(?: 1)?\)), output\.shape=(?P<output>{SHAPE})",
        "the targets have shape {target}, the predictions {output}: one number for each item "
        "against one for each class",
        'loss="sparse_categorical_crossentropy"  # for class numbers; or one-hot targets: '
        "keras.utils.to_categorical(y). Of binary_crossentropy: as many units as a target",
    ),
    Meaning(
        "target shape",
        r"Arguments `target` and `output` must have the same (?:rank \(ndim\)|shape)\. Received: "
        rf"target\.shape=(?P<target>{SHAPE}), output\.shape=(?P<output>{SHAPE})",
        "the targets have shape {target}, the predictions {output}",
        "Dense(…)  # the last layer: as many units as a target has values",
    ),
    Meaning(
        "one-hot",
        r"Argument `output` must have rank \(ndim\) `target\.ndim - 1`\. Received: "
        rf"target\.shape=(?P<target>{SHAPE}), output\.shape=(?P<output>{SHAPE})",
        "sparse_categorical_crossentropy takes class numbers and gets targets of shape {target} "
        "for predictions of {output}: they are one-hot",
        'loss="categorical_crossentropy"  # or class numbers: y.argmax(axis=-1)',
    ),
    Meaning(
        "label range",
        r"Received a label value of (?P<value>-?\d+) which is outside the valid range of "
        r"\[0, (?P<classes>\d+)\)",
        "a label is {value}, and the last layer has {classes} units: labels are from 0, and below "
        "{classes}",
        "Dense(…)  # the last layer: as many units as classes; class numbers begin at 0",
    ),
    Meaning(
        "embedding range",
        r"node (?P<node>\S*?)/(?:GatherV2|embedding_lookup).*?"
        r"indices\[[\d,]*\] = (?P<value>-?\d+) is not in \[0, (?P<size>\d+)\)",
        "an input of the embedding {node} is {value}, and it has {size} rows, from 0",
        "keras.layers.Embedding(…)  # the largest index + 1",
    ),
)

_FEEDING = (
    Meaning(
        "sizes",
        r"Data cardinality is ambiguous.*?'?x'? sizes: (?P<x>[\d, ]+?) *'?y'? sizes: "
        r"(?P<y>[\d, ]+)",
        "inputs and targets have different numbers of items: {x} and {y}",
        "len(x) == len(y)  # see where one of them loses items",
    ),
    Meaning(
        "inputs",
        r"Layer ['\"](?P<layer>.+?)['\"] expects (?P<want>\d+) (?:named )?inputs?(?:\(s\))?.*?"
        r"received (?P<got>\d+) input tensors",
        "model {layer} has {want} inputs and gets {got}",
        "model.fit([first, second], y)  # one array for each keras.Input, in its order",
    ),
    Meaning(
        "input names",
        r"Missing data for input ['\"](?P<name>.+?)['\"]\. You passed a data dictionary with keys "
        r"(?P<got>\[.*?\])\. Expected the following keys: (?P<want>\[.*?\])",
        "the data has the names {got}, the model's inputs are called {want}",
        "keras.Input(…, name=…)  # as the data's keys are",
    ),
    Meaning(
        "outputs",
        r"y_true and y_pred have different structures\. y_true: (?P<true>.*?) y_pred: "
        r"(?P<pred>.*)",
        "the targets come as {true}, the model's outputs as {pred} (* stands for an array)",
        "model.fit(x, [first, second])  # one array of targets for each output",
    ),
    Meaning(
        "losses",
        r"The path: \((?P<path>.*?),?\) in the `loss` argument, can't be found",
        "there is a loss for output {path}, and the model has none of that number or name",
        "model.compile(loss=…)  # one for each output",
    ),
    Meaning(
        "loss names",
        r"Expected keys (?P<want>\[.*?\]) in loss dict, but found loss\.keys\(\)=(?P<got>\[.*?\])",
        "the losses are named {got}, the outputs {want}",
        "model.compile(loss={{…}})  # by the names of the output layers",
    ),
    Meaning(
        "strings",
        r"Invalid dtype: (?P<dtype>(?:str|object|bytes)\d*)",
        "the data is of dtype {dtype}: text, or rows of different lengths, and no numbers",
        'x.astype("float32")  # of text first keras.layers.StringLookup or TextVectorization; '
        "of sequences keras.utils.pad_sequences",
    ),
    Meaning(
        "lists",
        r"Unrecognized data type: x=.*\(of type <class '(?P<kind>[^']*)'>\)",
        "fit gets a {kind}, which is nothing that Keras reads",
        "np.asarray(…)  # arrays, a generator function's result, a tf.data.Dataset or a "
        "keras.utils.PyDataset",
    ),
    Meaning(
        "data ended",
        r"End of sequence",
        "the data has ended: next() was asked for more than there is",
        "dataset.repeat()  # or for batch in dataset:",
        kinds=("StopIteration", "OutOfRangeError"),
    ),
    Meaning(
        "memory",
        rf"OOM when allocating tensor with shape(?P<got>{SHAPE})",
        "there is not enough memory for a tensor of shape {got}",
        "model.fit(…, batch_size=…)  # smaller batches, or a smaller model",
        kinds=("ResourceExhaustedError",),
    ),
)

_MODEL = (
    Meaning(
        "no gradient",
        r"No gradients provided for any variable",
        "no variable that is to be trained has a gradient: nothing leads from the loss to any",
        "loss = …  # from these variables, inside the tape, without argmax, round, .numpy() or "
        "stop_gradient on the way",
    ),
    Meaning(
        "not compiled",
        r"You must call `compile\(\)` before",
        "the model was not compiled",
        'model.compile(optimizer="adam", loss=…)  # before it is trained or evaluated',
    ),
    Meaning(
        "not built",
        r"(?:[Ll]ayer|model) '?(?P<layer>[\w./-]+)'?(?:, but the layer isn't built| has never been "
        r"called| has no defined inputs)|saving a model that has not yet been built",
        "the model or layer {layer} has no weights and no inputs yet: it was never called",
        "keras.Input(shape=…)  # as its first layer; or model.build((None, …))",
    ),
    Meaning(
        "not connected",
        r"Output with path `(?P<path>[^`]*)` is not connected to `inputs`",
        "an output of the model does not depend on the inputs that it is given",
        "keras.Model(inputs, outputs)  # the inputs that the outputs were computed from",
    ),
    Meaning(
        "symbolic",
        r"A KerasTensor (?:cannot be used as input to a TensorFlow function|is symbolic)",
        "a function of TensorFlow or numpy is used on a symbolic tensor while the model is built",
        "keras.ops.…  # or call it in a layer of your own",
    ),
    Meaning(
        "same name",
        r"should have unique names\. Name '(?P<name>.*?)' is already",
        "two layers are called {name}",
        'name="…"  # another one for one of them',
    ),
    Meaning(
        "layer name",
        r"'(?P<name>.*?)' is not a valid (?:root )?scope name",
        "a layer or model is called {name}, which TensorFlow does not take for a name",
        'name="my_head"  # of letters, digits and . _ - alone',
    ),
    Meaning(
        "unknown name",
        r"Could not interpret (?P<what>[\w ]+?) identifier: (?P<name>.+)",
        "Keras has no {what} called {name}",
        "see the spelling: keras.activations, keras.losses, keras.optimizers list them",
    ),
)

_WEIGHTS = (
    Meaning(
        "no file",
        r"unable to open file: name = '(?P<file>.*?)', errno = 2|File not found: filepath="
        r"(?P<other>\S+?)\. ",
        "there is no file {file}{other}",
        "a path to the file  # relative ones start at the working directory",
    ),
    Meaning(
        "layer count",
        r"Layer count mismatch when loading weights from file\. Model expected (?P<want>\d+) "
        r"layers, found (?P<got>\d+) saved layers",
        "the model has {want} layers with weights, the file {got}",
        "build the model that was saved; by_name=True takes the layers whose names agree",
    ),
    Meaning(
        "variables",
        r"(?P<count>\d+) objects could not be loaded.*?Layer '(?P<layer>.*?)' expected "
        r"(?P<want>\d+) variables, but received (?P<got>\d+)",
        "layer {layer} has {want} variables, the file has {got} for it: it holds another model's "
        "weights ({count} layers were not loaded)",
        "build the model that was saved; skip_mismatch=True leaves such layers as they are",
    ),
    Meaning(
        "variable shape",
        rf"variable\.shape=(?P<want>{SHAPE}), Received: value\.shape=(?P<got>{SHAPE})\. Target "
        r"variable: <Variable path=(?P<path>[^,]+),",
        "the weight {path} has shape {want}, the value for it {got}",
        "build the model that was saved: the same units and input shape",
    ),
    Meaning(
        "saved shape",
        rf"Shape mismatch in layer #\d+ ?\(named (?P<layer>.*?)\) ?for weight (?P<path>\S+)\. "
        rf"Weight expects shape (?P<want>{SHAPE})\. Received saved weight with shape "
        rf"(?P<got>{SHAPE})",
        "the weight {path} has shape {want}, the one in the file {got}",
        "build the model that was saved: the same units and input shape",
    ),
    Meaning(
        "weight list",
        r"`set_weights\(weights\)` on layer '(?P<layer>.*?)' with a weight list of length "
        r"(?P<got>\d+), but the layer was expecting (?P<want>\d+)",
        "{layer} has {want} weights and gets {got}",
        "set_weights(other.get_weights())  # of a model that is built alike",
    ),
    Meaning(
        "weight shape",
        rf"Layer (?P<layer>\S+) weight shape (?P<want>{SHAPE}) is not compatible with provided "
        rf"weight shape (?P<got>{SHAPE})",
        "a weight of {layer} has shape {want} and gets {got}",
        "set_weights(other.get_weights())  # of a model that is built alike",
    ),
    Meaning(
        "lambda",
        r"deserialization of a `Lambda` layer whose `function` is a Python lambda",
        "the file holds Python code (a Lambda layer), which Keras does not run unasked",
        "load_model(…, safe_mode=False)  # for a file that you trust",
    ),
)

MEANINGS: tuple[Meaning, ...] = (*_SHAPES, *_LABELS, *_FEEDING, *_MODEL, *_WEIGHTS)
"""Every kind; the first whose pattern is found counts."""


OF_LABELS = frozenset({"class numbers", "target shape", "one-hot", "label range", "loss shapes"})
"""Those that are about what the loss is given."""


def is_known(ended: ProgramError) -> bool:
    """Whether it is certain what an error means."""
    return bool(ended.outdated) or meaning_of(ended.error, ended.message) is not None


def meaning_of(kind: str, message: str) -> tuple[Meaning, Mapping[str, str]] | None:
    """What an error means, with the values that its message holds; None where it is untold.

    Args:
        kind: the name of its type.
        message: its text, on one line.
    """
    for meaning in MEANINGS:
        found = meaning.match(kind, message)
        if found is not None:
            return meaning, found
    return None
