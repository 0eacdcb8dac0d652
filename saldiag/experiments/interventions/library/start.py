"""Other initial weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import keras
import numpy as np

from saldiag.core.keras_types import KerasLayer
from saldiag.core.wording import counted
from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.output_layers import output_heads
from saldiag.experiments.interventions.targets import output_targets, target_kinds
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.keras_internals.layers import own_trainable_variables

_RELUS = {"relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "swish", "prelu"}
"""Activations whose layers get He initialisation."""
MAX_LISTED_VALUES = 4
"""Bias values that a description lists."""


class Reinitialised(Intervention):
    """Reinitialises the trainable weights; biases and shifts start at 0, scales at 1.

    He initialisation for ReLU and its variants (He et al., ICCV 2015), Glorot initialisation for
    other activations (Glorot & Bengio, AISTATS 2010).
    """

    name = "reinitialised"
    states = "the model cannot learn from its initial weights"
    answers: ClassVar[tuple[str, ...]] = ("SD202", "SD203", "SD301", "SD304", "SD305", "SD705")
    words: ClassVar[tuple[str, ...]] = (
        "initiali", "random start", "untrained", "expansion", "dead", "saturat", "vanish",
    )  # fmt: skip

    def change(self, lab: Workbench) -> Change:
        drawn = list(_redrawn_variables(lab))
        if not drawn:
            raise NotApplicable("no trainable weight has a standard initializer")
        sampler = lab.initial_states

        def draw_weights(seed: int) -> None:
            for number, (_, variable, initializer) in enumerate(drawn):
                sampler.draw_variable(variable, initializer, seed + 1, number)

        return Change(
            f"reinitialising {counted(len(drawn), 'trainable weight')} (He, Glorot)",
            tuple(dict.fromkeys(path for path, *_ in drawn)),
            set_initial_state=draw_weights,
            needs_retracing=False,
        )


def _redrawn_variables(lab: Workbench) -> Iterator[tuple[str, Any, Any]]:
    """Path, variable and initializer of each trainable weight that can be reinitialised."""
    trained = {id(v) for v in lab.model.trainable_variables}
    # Only the layer's own activation counts: a ReLU in a separate layer behind it is not seen.
    for path, layer in lab.layers.items():
        for variable in own_trainable_variables(layer):
            initializer = _suitable_initializer(layer, variable)
            if id(variable) in trained and initializer is not None:
                yield path, variable, initializer


def _suitable_initializer(layer: KerasLayer, variable: Any) -> Any:
    """The standard initializer for a variable, by its name; None for an unknown kind."""
    name = str(variable.name)
    if name in ("bias", "beta"):
        return None if getattr(layer, "unit_forget_bias", False) else _SeededConstant(0.0)
    if name == "gamma":
        return _SeededConstant(1.0)
    if name == "recurrent_kernel":
        return keras.initializers.Orthogonal()
    if not name.endswith("kernel") or len(variable.shape) < 2:
        return None
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    relu = activation in _RELUS
    return keras.initializers.HeNormal() if relu else keras.initializers.GlorotUniform()


class _SeededConstant(keras.initializers.Constant):
    """A constant whose configuration may hold a seed, as that of random initializers does."""

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _SeededConstant:
        return cls(config["value"])


class InitialBias(Intervention):
    """Initialises the output's bias to the best prediction that ignores the input.

    The logit of each class' frequency, or the mean (Lin et al., Focal Loss, ICCV 2017, section
    4.1; Karpathy, A Recipe for Training Neural Networks, 2019).
    """

    name = "initial-bias"
    states = "training spends its steps on learning the class frequencies"
    answers: ClassVar[tuple[str, ...]] = ("SD606", "SD705")
    words: ClassVar[tuple[str, ...]] = ("imbalance", "rare", "initial bias", "frequency")

    def change(self, lab: Workbench) -> Change:
        layer, path, activation = _output_layer_with_bias(lab)
        value = _constant_prediction_bias(lab, activation, int(layer.bias.shape[0]))

        def assign_bias(seed: int) -> None:  # noqa: ARG001 - the same for every seed
            layer.bias.assign(value)

        more = ", …" if len(value) > MAX_LISTED_VALUES else ""
        listed = ", ".join(f"{v:.3g}" for v in value[:MAX_LISTED_VALUES])
        return Change(
            f"initialising the bias of {path} to {listed}{more}",
            (path,),
            set_initial_state=assign_bias,
            needs_retracing=False,
        )


def _output_layer_with_bias(lab: Workbench) -> tuple[Any, str, str]:
    """The only output's layer, its path, and the name of the output's last activation."""
    heads = output_heads(lab)
    first = heads[0].layers[0]
    if len(heads) > 1 or getattr(first.layer, "bias", None) is None:
        raise NotApplicable("the output does not come from a single layer with a bias")
    return first.layer, first.path, heads[0].layers[-1].activation


def _constant_prediction_bias(lab: Workbench, activation: str, units: int) -> Any:
    """The bias (units,) with which the output equals the best constant prediction."""
    kind, target = target_kinds(lab)[0], output_targets(lab)[0]
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
    raise NotApplicable(f"no bias makes the output of {activation} equal the mean")
