"""Another optimizer, or the same one with other settings."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.compile_changes import rebuild_optimizer
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.rules.shared.update_ratios import INVARIANT
from saldiag_probes.state.optimizers import inner_optimizer

CLIPPING_SETTINGS = ("clipnorm", "clipvalue", "global_clipnorm")
"""Constructor arguments that clip gradients."""
RESET_SETTINGS = (
    *CLIPPING_SETTINGS, "weight_decay", "epsilon", "beta_1", "beta_2", "momentum", "rho",
)  # fmt: skip
"""Constructor arguments that ``DefaultSettings`` resets."""


class OtherOptimizer(Intervention):
    """Replaces the optimizer by Adam at 1e-3, and optimizers of Adam's family by SGD with momentum.

    Adam at its defaults works for most networks (Kingma & Ba, 2015). Where it fails, its division
    by the gradient's magnitude is the suspect, which SGD does without.
    """

    name = "other-optimizer"
    states = "the optimizer does not suit the model"
    words: ClassVar[tuple[str, ...]] = ("optimizer", "adam", "sgd")

    def change(self, lab: Workbench) -> Change:
        now = type(inner_optimizer(lab.model.optimizer)).__name__
        other = (
            keras.optimizers.SGD(1e-2, momentum=0.9, nesterov=True)
            if now in INVARIANT
            else keras.optimizers.Adam(1e-3)
        )
        settings = "momentum 0.9, learning rate 0.01" if now in INVARIANT else "learning rate 0.001"
        name = type(other).__name__
        return Change(f"replacing {now} by {name} ({settings})", optimizer=other)


class DefaultSettings(Intervention):
    """Resets clipping, decay, epsilon and momentum to Keras' defaults; the rate stays."""

    name = "default-settings"
    states = "an optimizer setting outweighs the gradient in each step"
    answers: ClassVar[tuple[str, ...]] = ("SD207", "SD507", "SD711")
    words: ClassVar[tuple[str, ...]] = (
        "epsilon", "weight decay", "momentum", "clipnorm", "clipvalue", "optimizer setting",
    )  # fmt: skip

    def change(self, lab: Workbench) -> Change:
        optimizer = inner_optimizer(lab.model.optimizer)
        now, defaults = optimizer.get_config(), _default_settings(type(optimizer))
        reset = {
            name: defaults[name]
            for name in RESET_SETTINGS
            if name in now and name in defaults and now[name] != defaults[name]
        }
        if not reset:
            raise NotApplicable("the optimizer already uses Keras' default settings")
        listed = ", ".join(
            f"{name} {_format_setting(now[name])} → {_format_setting(default)}"
            for name, default in reset.items()
        )
        return Change(
            f"resetting the optimizer to Keras' defaults ({listed})",
            optimizer=rebuild_optimizer(lab.model.optimizer, **reset),
        )


def _format_setting(value: Any) -> str:
    return "none" if value is None else f"{value:.3g}"


def _default_settings(optimizer_class: Any) -> dict[str, Any]:
    try:
        return dict(optimizer_class().get_config())
    except Exception as error:  # a user's own optimizer
        raise NotApplicable(f"the optimizer's defaults are unknown: {error}") from error


class LargerEpsilon(Intervention):
    """Sets epsilon to 1e-3, which float16 can represent (Keras' own advice for float16)."""

    name = "larger-epsilon"
    states = "the optimizer's epsilon rounds to 0 in float16"
    answers: ClassVar[tuple[str, ...]] = ("SD507",)
    words: ClassVar[tuple[str, ...]] = ("epsilon", "float16", "half precision")

    def change(self, lab: Workbench) -> Change:
        optimizer = inner_optimizer(lab.model.optimizer)
        dtypes = {str(v.dtype) for v in lab.model.trainable_variables}
        epsilon = getattr(optimizer, "epsilon", None)
        if epsilon is None or "float16" not in dtypes:
            raise NotApplicable("no weight is float16, or the optimizer has no epsilon")
        return Change(
            f"changing epsilon from {epsilon:.3g} to 0.001",
            optimizer=rebuild_optimizer(lab.model.optimizer, epsilon=1e-3),
        )


class ClippedGradients(Intervention):
    """Clips the gradient to a global norm of 1 (Pascanu, Mikolov & Bengio, ICML 2013)."""

    name = "clipped-gradients"
    states = "the gradients explode"
    answers: ClassVar[tuple[str, ...]] = ("SD203", "SD205")
    words: ClassVar[tuple[str, ...]] = ("explod", "clip", "spike", "nan")

    def change(self, lab: Workbench) -> Change:
        now = inner_optimizer(lab.model.optimizer)
        if any(getattr(now, name, None) is not None for name in CLIPPING_SETTINGS):
            raise NotApplicable("the optimizer already clips gradients")
        clipping = rebuild_optimizer(lab.model.optimizer, global_clipnorm=1.0)
        return Change("clipping gradients to a global norm of 1", optimizer=clipping)
