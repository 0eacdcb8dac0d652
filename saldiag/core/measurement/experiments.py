"""Of experiments: the same short training, as the model is and with one thing changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from saldiag.core.measurement.base import Measurement

Stopped = Literal["memorised", "nothing moves", "non-finite", "fails", "steps", "budget"]
Mode = Literal["training", "inference"]


@dataclass(frozen=True)
class Curve:
    """One training from one start.

    ``score`` is the share of the targets' variation that the predictions reproduce in training
    mode (the coefficient of determination, R²): 0 is the best prediction that ignores the input,
    1 is all memorised. It and ``error``, the mean absolute error in the targets' unit, were taken
    after ``steps`` (0 is before the first one). ``missed`` is each item's part of what is missing
    at the end: the score is 1 less their mean. The ``inference`` ones are of inference mode, nan
    and empty where it was not looked at.
    """

    seed: int
    steps: tuple[int, ...]
    score: tuple[float, ...]
    error: tuple[float, ...]
    missed: tuple[float, ...]
    stopped: Stopped
    inference_score: float = float("nan")
    inference_missed: tuple[float, ...] = ()


@dataclass(frozen=True)
class Arm:
    """Trainings with one intervention, or with several ``parts`` together; one curve a seed.

    ``states`` is the hypothesis in one sentence; ``told`` is what was changed, as the subject of a
    sentence (``replacing softmax by sigmoid on Convf2``), and ``layers`` where.
    ``answers`` are the rules whose finding it would prove, ``suspected_by`` the findings and the
    user's own words that made it be asked, ``place`` that of the gravest of those findings, 0 the
    root cause. ``if_restored`` is what it means if learning comes back, of a change that repairs
    nothing. ``reason`` is why there are no curves.
    """

    name: str
    states: str
    told: str = ""
    layers: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    suspected_by: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    mode: Mode = "training"
    planned_steps: int = 0
    if_restored: str = ""
    reason: str | None = None
    curves: tuple[Curve, ...] = ()
    place: int | None = None


@dataclass(frozen=True)
class LayerLook:
    """What one layer still knows of the targets, and whether it can be trained by itself.

    ``information`` is the share of the targets' variation that a linear probe of its ``features``
    says of items it was not fitted to; ``own_gradient`` the norm of the gradient that its weights
    get from that probe in place of all that follows, None where it has none.
    """

    layer: str
    kind: str
    information: float
    features: int
    own_gradient: float | None = None


@dataclass(frozen=True)
class Experiments(Measurement):
    """The control, which is the model as it is, and what was changed against it.

    ``controls`` were trained for different numbers of steps, the longest last; an arm is compared
    with the one of its own length. ``items`` were trained on. ``ended`` says why no more was tried:
    all was ``decided``, the ``budget`` was spent, or it was ``interrupted``. ``proven``: a test has
    shown that the model as it is does not learn.
    """

    key: ClassVar[str] = "experiments"
    controls: tuple[Arm, ...]
    arms: tuple[Arm, ...]
    items: int
    budget_seconds: float
    ended: str = "decided"
    suspicions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The user's words, and the names of the arms that answer to them."""
    looks: tuple[LayerLook, ...] = ()
    proven: bool = True

    def control_of(self, arm: Arm) -> Arm | None:
        """The control that was trained as long as the arm, or the next longer one."""
        return control_of(self.controls, arm)


def control_of(controls: tuple[Arm, ...], arm: Arm) -> Arm | None:
    """The shortest control that was planned for as many steps as the arm, or the longest."""
    longer = [control for control in controls if control.planned_steps >= arm.planned_steps]
    ordered = sorted(longer or controls, key=lambda control: control.planned_steps)
    return ordered[0 if longer else -1] if ordered else None
