"""Measurements of experiments: the same short training, unchanged and with one change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from saldiag.core.measurement.base import Measurement

Stopped = Literal["memorised", "nothing moves", "non-finite", "fails", "steps", "budget"]
Mode = Literal["training", "inference"]


@dataclass(frozen=True)
class Curve:
    """One short training from one set of initial weights, scored K times.

    The score is the share of the targets' variation that the predictions reproduce (the coefficient
    of determination, R²): 0 for the best prediction that ignores the input, 1 if all is memorised.
    """

    seed: int
    """Seed of the initial weights and of the order of the batches."""
    steps: tuple[int, ...]
    """Steps taken before each score (K); 0 is before the first step."""
    score: tuple[float, ...]
    """Score in training mode (K)."""
    error: tuple[float, ...]
    """Mean absolute error in training mode (K), in the targets' unit."""
    missed: tuple[float, ...]
    """For each item, what is missing from a score of 1 at the end: the score is 1 minus their
    mean."""
    stopped: Stopped
    """Why the training ended."""
    inference_score: float = float("nan")
    """Score in inference mode at the end; NaN if not measured."""
    inference_missed: tuple[float, ...] = ()
    """As ``missed``, in inference mode; empty if not measured."""


@dataclass(frozen=True)
class Arm:
    """Short trainings with one intervention or several, one for each seed."""

    name: str
    """Name of the intervention; several are joined by `` + ``; ``control`` without any."""
    states: str
    """The hypothesis in one sentence."""
    told: str = ""
    """What was changed, as the subject of a sentence (``replacing softmax by sigmoid on Convf2``);
    empty if nothing was."""
    layers: tuple[str, ...] = ()
    """Paths of the layers that were changed."""
    answers: tuple[str, ...] = ()
    """Codes of the rules whose finding it would prove."""
    suspected_by: tuple[str, ...] = ()
    """Codes of the rules, and the user's own words, that suggested it."""
    parts: tuple[str, ...] = ()
    """Names of the single interventions; empty unless there are several."""
    mode: Mode = "training"
    """Mode in which it is judged."""
    planned_steps: int = 0
    """Steps that each training was planned for; 0 if it was not trained."""
    if_restored: str = ""
    """What it means if learning is restored, for an intervention that is no repair; empty for a
    repair."""
    reason: str | None = None
    """Why there are no curves; None if there are, or if it was not tried."""
    curves: tuple[Curve, ...] = ()
    """The trainings, one for each seed."""
    place: int | None = None
    """Rank of the most severe finding that suggested it, 0 for the root cause; None if no finding
    did."""


@dataclass(frozen=True)
class LayerLook:
    """How much of the targets one layer's output still contains, measured by a linear probe."""

    layer: str
    """Path of the layer."""
    kind: str
    """Its class name."""
    information: float
    """Share of the targets' variation that the probe predicts on items it was not fitted to; NaN
    if the targets do not vary."""
    features: int
    """Number of features in the layer's output."""
    own_gradient: float | None = None
    """L2 norm of the gradient of the layer's weights if the probe replaces the layers after it;
    None without such a gradient."""


@dataclass(frozen=True)
class Experiments(Measurement):
    """The control (the unchanged model) and the interventions, trained from the same weights."""

    key: ClassVar[str] = "experiments"
    position: ClassVar[int] = 22
    controls: tuple[Arm, ...]
    """Controls of different lengths, the longest last; an arm is compared with the one of its own
    length."""
    arms: tuple[Arm, ...]
    """The interventions."""
    items: int
    """Number of items trained on."""
    budget_seconds: float
    """Time limit in seconds."""
    ended: str = "decided"
    """Why the search ended: ``decided`` (nothing is left to try), ``budget`` or ``interrupted``."""
    suspicions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the arms that answer each of the user's suspicions, by the user's words."""
    looks: tuple[LayerLook, ...] = ()
    """The linear probes, in the order of the layers' first calls; empty if none were fitted."""
    proven: bool = True
    """Whether a test showed that the unchanged model does not learn."""

    def control_of(self, arm: Arm) -> Arm | None:
        """The control that was trained as long as the arm, or the next longer one."""
        return control_of(self.controls, arm)


def control_of(controls: tuple[Arm, ...], arm: Arm) -> Arm | None:
    """The shortest control that was planned for as many steps as the arm, or the longest."""
    longer = [control for control in controls if control.planned_steps >= arm.planned_steps]
    ordered = sorted(longer or controls, key=lambda control: control.planned_steps)
    return ordered[0 if longer else -1] if ordered else None
