"""Other weights to start from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import keras
import numpy as np

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.output_layers import heads_of
from saldiag.experiments.interventions.targets import kinds_of, targets_of
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.keras_internals.layers import own_trainable_variables

_RELUS = {"relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "swish", "prelu"}


class Reinitialised(Intervention):
    """Draws what is trained anew; biases and shifts start at 0, scales at 1.

    He's draw for ReLU and its like (He et al., ICCV 2015), Glorot's for others (Glorot & Bengio,
    AISTATS 2010).
    """

    name = "reinitialised"
    states = "the weights started where nothing can be learnt"
    answers: ClassVar[tuple[str, ...]] = ("SD202", "SD203", "SD301", "SD304", "SD305", "SD705")
    words: ClassVar[tuple[str, ...]] = (
        "initiali", "random start", "untrained", "expansion", "dead", "saturat", "vanish",
    )  # fmt: skip

    def change(self, lab: Workbench) -> Change:
        drawn = list(_drawn(lab))
        if not drawn:
            raise NotApplicable("no trainable weight is of a kind that could be drawn anew")
        starts = lab.starts

        def start(seed: int) -> None:
            for number, (_, variable, initializer) in enumerate(drawn):
                starts.draw(variable, initializer, seed + 1, number)

        told = f"drawing {len(drawn)} trainable weights anew (He, Glorot)"
        return Change(told, tuple(dict.fromkeys(p for p, *_ in drawn)), start=start, traced=False)


def _drawn(lab: Workbench) -> Iterator[tuple[str, Any, Any]]:
    trained = {id(v) for v in lab.model.trainable_variables}
    # A model's first layer with ReLU behind it, by a layer of its own, is told from the layer only.
    for path, layer in lab.layers.items():
        for variable in own_trainable_variables(layer):
            initializer = _initializer(layer, variable)
            if id(variable) in trained and initializer is not None:
                yield path, variable, initializer


def _initializer(layer: Any, variable: Any) -> Any:
    name = str(variable.name)
    if name in ("bias", "beta"):
        return None if getattr(layer, "unit_forget_bias", False) else _constant(0.0)
    if name == "gamma":
        return _constant(1.0)
    if name == "recurrent_kernel":
        return keras.initializers.Orthogonal()
    if not name.endswith("kernel") or len(variable.shape) < 2:
        return None
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    relu = activation in _RELUS
    return keras.initializers.HeNormal() if relu else keras.initializers.GlorotUniform()


def _constant(value: float) -> Any:
    return _Constant(value)


class _Constant(keras.initializers.Constant):
    """A constant that takes a seed, as the random ones do."""

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _Constant:
        return cls(config["value"])


class InitialBias(Intervention):
    """Starts the output's bias at what is best without looking at the input.

    The logit of each class' frequency, or the mean (Lin et al., Focal Loss, ICCV 2017, section
    4.1; Karpathy, A Recipe for Training Neural Networks, 2019).
    """

    name = "initial-bias"
    states = "training spends its steps on learning how frequent each class is"
    answers: ClassVar[tuple[str, ...]] = ("SD606", "SD705")
    words: ClassVar[tuple[str, ...]] = ("imbalance", "rare", "initial bias", "frequency")

    def change(self, lab: Workbench) -> Change:
        layer, path, activation = _last(lab)
        value = _best_constant(lab, activation, int(layer.bias.shape[0]))

        def start(seed: int) -> None:  # noqa: ARG001 - the same for every seed
            layer.bias.assign(value)

        told = f"starting the bias of {path} at {', '.join(f'{v:.3g}' for v in value[:4])}"
        return Change(told, (path,), start=start, traced=False)


def _last(lab: Workbench) -> tuple[Any, str, str]:
    heads = heads_of(lab)
    part = heads[0].parts[0]
    if len(heads) > 1 or getattr(part.layer, "bias", None) is None:
        raise NotApplicable("the output is not one layer's with a bias")
    return part.layer, part.path, heads[0].parts[-1].activation


def _best_constant(lab: Workbench, activation: str, units: int) -> Any:
    """(units,): what the last layer has to say to be right on average."""
    kind, target = kinds_of(lab)[0], targets_of(lab)[0]
    if kind == "classes" and units > 1:
        counts = np.bincount(target.astype(int).ravel(), minlength=units)[:units]
        return np.log(np.clip(counts / counts.sum(), 1e-6, None))
    flat = target.reshape(-1, units) if target.size % units == 0 else target.reshape(-1, 1)
    mean = flat.mean(axis=0) * np.ones(units)
    if activation == "softmax":
        return np.log(np.clip(mean, 1e-6, None))
    if activation == "sigmoid" or (activation == "linear" and kind in ("binary", "shares")):
        share = np.clip(mean, 1e-6, 1 - 1e-6)
        return np.log(share / (1 - share))
    if activation == "linear":
        return mean
    raise NotApplicable(f"behind {activation} no bias gives the mean")
