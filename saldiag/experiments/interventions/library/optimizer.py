"""Another optimizer, or the same with other settings."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from saldiag.experiments.interventions.base import Intervention, NotApplicable
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.compile_changes import rebuilt
from saldiag.experiments.interventions.workbench import Workbench
from saldiag.rules.shared.update_ratios import INVARIANT
from saldiag_probes.state.optimizers import inner_optimizer

CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")
SETTINGS = (*CLIPPING, "weight_decay", "epsilon",
            "beta_1", "beta_2", "momentum", "rho")  # fmt: skip


class OtherOptimizer(Intervention):
    """Adam at 1e-3 in place of another; SGD with momentum in place of Adam and its like.

    Adam at its defaults works for most networks (Kingma & Ba, 2015). Where it does not, the
    suspicion is against dividing by the gradient's own size, and SGD does without.
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
        rate = "with momentum 0.9 at 0.01" if now in INVARIANT else "at 0.001"
        return Change(f"replacing {now} by {type(other).__name__} {rate}", optimizer=other)


class DefaultSettings(Intervention):
    """Puts what clips, shrinks or swamps a step back to Keras' defaults; the rate stays."""

    name = "default-settings"
    states = "a setting of the optimizer swamps its steps"
    answers: ClassVar[tuple[str, ...]] = ("SD207", "SD507", "SD711")
    words: ClassVar[tuple[str, ...]] = (
        "epsilon", "weight decay", "momentum", "clipnorm", "clipvalue", "optimizer setting",
    )  # fmt: skip

    def change(self, lab: Workbench) -> Change:
        optimizer = inner_optimizer(lab.model.optimizer)
        now, usual = optimizer.get_config(), _defaults(type(optimizer))
        other = {k: usual[k] for k in SETTINGS if k in now and k in usual and now[k] != usual[k]}
        if not other:
            raise NotApplicable("the optimizer's settings are Keras' defaults")
        told = ", ".join(f"{name} {now[name]:.3g} → {_number(other[name])}" if now[name] is not None
                         else f"{name} → {_number(other[name])}" for name in other)  # fmt: skip
        return Change(
            f"putting the optimizer's settings back ({told})",
            optimizer=rebuilt(lab.model.optimizer, **other),
        )


def _number(value: Any) -> str:
    return "none" if value is None else f"{value:.3g}"


def _defaults(kind: Any) -> dict[str, Any]:
    try:
        return dict(kind().get_config())
    except Exception as error:  # a user's own optimizer
        raise NotApplicable(f"the optimizer's defaults are not known: {error}") from error


class LargerEpsilon(Intervention):
    """Takes an epsilon that half precision can hold, 1e-3 (Keras' own advice for float16)."""

    name = "larger-epsilon"
    states = "the optimizer's epsilon is 0 in half precision"
    answers: ClassVar[tuple[str, ...]] = ("SD507",)
    words: ClassVar[tuple[str, ...]] = ("epsilon", "float16", "half precision")

    def change(self, lab: Workbench) -> Change:
        optimizer = inner_optimizer(lab.model.optimizer)
        dtypes = {str(v.dtype) for v in lab.model.trainable_variables}
        epsilon = getattr(optimizer, "epsilon", None)
        if epsilon is None or "float16" not in dtypes:
            raise NotApplicable("no weights in float16 under an optimizer with an epsilon")
        return Change(
            f"epsilon {epsilon:.3g} → 0.001", optimizer=rebuilt(lab.model.optimizer, epsilon=1e-3)
        )


class ClippedGradients(Intervention):
    """Clips the gradient to a global norm of 1 (Pascanu, Mikolov & Bengio, ICML 2013)."""

    name = "clipped-gradients"
    states = "the gradients explode"
    answers: ClassVar[tuple[str, ...]] = ("SD203", "SD205")
    words: ClassVar[tuple[str, ...]] = ("explod", "clip", "spike", "nan")

    def change(self, lab: Workbench) -> Change:
        now = inner_optimizer(lab.model.optimizer)
        if any(getattr(now, name, None) is not None for name in CLIPPING):
            raise NotApplicable("the gradients are clipped already")
        clipping = rebuilt(lab.model.optimizer, global_clipnorm=1.0)
        return Change("clipping gradients to a global norm of 1", optimizer=clipping)
