"""Measurements of training on several replicas: what each of them reads, computes and holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from saldiag.core.measurement.base import Array, Measurement, Source

StateRole = Literal["weight", "statistic", "slot"]
"""A trainable weight, a moving statistic of BatchNormalization, or an optimizer's variable."""


@dataclass(frozen=True)
class LossTerm:
    """One reduction of the loss over the items of a batch, summed over the replicas.

    For each replica, v is the tensor with an entry (or several) per item that is reduced, and L the
    target of the replica's tape.
    """

    weight: float
    """Sum over the replicas of the derivatives of L by all elements of v. A mean over the global
    batch gives 1, a mean over each replica's own items the number of replicas. With a loss scale,
    it is unscaled. Mean over the measured steps with an even split; NaN if there is none. In
    several processes, the sum is estimated from the replicas of one."""
    values_per_item: float
    """Elements of v per item; 1 for a loss per item."""
    averaged: bool
    """Whether v is reduced by means only. A sum over several values per item is usually meant: the
    weight of a healthy loss can then also be ``values_per_item``."""
    factor: float = 1.0
    """Derivative of L by the result of the reduction in the first replica, unscaled: what the
    program multiplies the reduced loss by. NaN if it was not measured."""
    weighted: bool = False
    """Whether the factor can be a weight of the loss: a line between the reduction and the loss
    multiplies or divides by a number that equals the number of replicas or its inverse, or
    multiplies by a name that is not computed from the number of replicas."""
    source: Source | None = None
    """Line of the reduction; None if unknown."""


@dataclass(frozen=True)
class StateSpread:
    """How far the replicas' copies of a variable are apart at the end."""

    path: str
    """Path of the variable; of a statistic, the path of its layer."""
    role: StateRole
    """What the variable is."""
    difference: float
    """Of weights and slots: largest difference of an element between two replicas, divided by the
    root mean square of the variable. Of statistics: largest distance of two moving means in moving
    standard deviations. Infinite if a copy is not finite."""
    noise: float = 0.0
    """Of statistics: standard deviation of that distance for replicas with independent items of the
    same distribution, from the momentum and the items per replica; 0 for other variables."""


@dataclass(frozen=True)
class SummedMean:
    """A mean over a replica's own items that the program sums over the replicas."""

    source: Source | None
    """Line that calls ``strategy.reduce``; None if unknown."""
    weight: float
    """Like ``LossTerm.weight``, of the sum: a mean over the global batch gives 1."""
    is_loss: bool
    """Whether the value is the target of the replica's tape."""


@dataclass(frozen=True)
class Distribution(Measurement):
    """Training on R replicas; arrays have T rows, one for each of the first measured steps.

    On one device ``replicas`` is 1 and everything else keeps its default.
    """

    key: ClassVar[str] = "distribution"
    strategy: str = ""
    """Class name of the ``tf.distribute`` strategy; empty without one."""
    replicas: int = 1
    """Replicas that train in sync (R)."""
    processes: int = 1
    """Processes that train together."""
    steps: int = 0
    """Training steps in all; a call of the optimizer is one."""
    items: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """Items that each replica reads (T, R); NaN if unknown."""
    fewest_items: Array = field(default_factory=lambda: np.zeros(0))
    """Smallest number of items of each replica in any step (R); NaN if unknown."""
    most_items: Array = field(default_factory=lambda: np.zeros(0))
    """Largest number of items of each replica in any step (R); NaN if unknown."""
    empty_steps: Array = field(default_factory=lambda: np.zeros(0))
    """Steps in which a replica reads no item (R)."""
    empty_nonfinite: Array = field(default_factory=lambda: np.zeros(0))
    """Those of them in which the replica's loss is NaN or infinite (R)."""
    fingerprints: Array = field(default_factory=lambda: np.zeros((0, 0, 2)))
    """Two sums over each replica's inputs, the second weighted by position (T, R, 2): equal for
    equal inputs. NaN if unknown."""
    loss: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """Target of each replica's tape (T, R), unscaled; NaN if unknown."""
    terms: tuple[LossTerm, ...] = ()
    """Reductions of the loss over items; empty if they could not be found."""
    terms_missing: str = ""
    """Why ``terms`` is empty; empty if it is not."""
    penalty: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """Part of each replica's loss that comes from the weights alone, without any item (T, R)."""
    full_penalty: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """Sum of the weights' regularizers in each replica at that step (T, R); NaN without any."""
    penalty_source: Source | None = None
    """Line that adds the penalty to the loss; None if unknown."""
    gradient_norm: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """L2 norm of all gradients that each replica passes to the optimizer (T, R), unscaled."""
    largest_norm: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """Largest L2 norm of one variable's gradient in each replica (T, R), unscaled."""
    largest_value: Array = field(default_factory=lambda: np.zeros((0, 0)))
    """Largest |gradient| of an element in each replica (T, R), unscaled."""
    gradient_factor: float = float("nan")
    """Norm of the gradients that the optimizer receives, divided by their norm where they come from
    (the tape, or the step's own sum over the replicas): 1 if the step passes them on as they are.
    Median of the measured steps; NaN if unknown."""
    sum_norm: Array = field(default_factory=lambda: np.zeros(0))
    """L2 norm of the sum of the replicas' gradients (T); NaN if the replicas run on several
    accelerators, where the sum would cost a transfer."""
    cosine: Array = field(default_factory=lambda: np.zeros(0))
    """Smallest cosine between the gradients of two replicas (T); NaN like ``sum_norm``."""
    sums_in_step: int | None = None
    """How often the step sums the gradients over the replicas before the optimizer; None if
    unknown."""
    sums_in_optimizer: int | None = None
    """How often the optimizer sums them; None if unknown."""
    sum_source: Source | None = None
    """Line at which the step sums the gradients; None if unknown or it does not."""
    spread: tuple[StateSpread, ...] = ()
    """How far the replicas' copies of each variable are apart."""
    clipping: str = ""
    """The optimizer's clipping argument (``clipnorm``, ``clipvalue`` or ``global_clipnorm``);
    empty without clipping."""
    clip_limit: float = float("nan")
    """Its value; NaN without clipping."""
    clip_source: Source | None = None
    """Line at which the step itself clips the gradients of a replica; None if it does not or it is
    unknown."""
    optimizer: str = ""
    """Class name of the optimizer."""
    learning_rate: float = float("nan")
    """Learning rate at the first step."""
    batch_scaled: Source | None = None
    """Line that multiplies the batch size by the number of replicas; None if there is none."""
    rate_scaled: bool | None = None
    """Whether the learning rate is computed from the number of replicas, directly or by the global
    batch; None if unknown."""
    rate_source: Source | None = None
    """Line that sets the learning rate; None if unknown."""
    summed_means: tuple[SummedMean, ...] = ()
    """Means over a replica's items that the program sums over the replicas."""
    random_layers: tuple[str, ...] = ()
    """Paths of the dropout and noise layers with a seed generator."""
    equal_seeds: tuple[str, ...] = ()
    """Those whose generator had the same state in all replicas at the first steps."""
    weight_digests: tuple[str, ...] = ()
    """SHA-256 of the weights before the first step, one per process; empty if unknown."""
