"""The faults with their healthy twins, and healthy programs, by name."""

from __future__ import annotations

from dataclasses import dataclass

from tests.replicas.programs import Program

CLIPPED = {"global_clipnorm": 1e-3}
LOOSE = {"global_clipnorm": 1e3}


@dataclass(frozen=True)
class Fault:
    """A fault, and the same program without it."""

    code: str
    broken: Program
    fixed: Program
    kinds: tuple[str, ...] = ("dense", "convolutional", "recurrent")
    """Kinds of model that have it."""


FAULTS = {
    "mean": Fault("SD001", Program(loss="mean"), Program(loss="global")),
    "mean in train_step": Fault(
        "SD001", Program("train_step", loss="mean"), Program("train_step", loss="average")
    ),
    "own items": Fault("SD001", Program(loss="own items"), Program(loss="mean over replicas")),
    "keras divided": Fault("SD002", Program(loss="keras divided"), Program(loss="keras")),
    "keras divided in train_step": Fault(
        "SD002",
        Program("train_step", loss="keras divided"),
        Program("train_step", loss="keras"),
    ),
    "global divided": Fault("SD002", Program(loss="global divided"), Program(loss="half")),
    "same items": Fault("SD003", Program(data="same", loss="mean"), Program()),
    "by class": Fault(
        "SD004",
        Program(data="by class", normalised="local", epochs=4),
        Program(normalised="local", epochs=4),
    ),
    "copies apart": Fault("SD004", Program(copies="apart"), Program()),
    "clipped by the optimizer": Fault(
        "SD005", Program("fit", settings=CLIPPED), Program("fit", settings=LOOSE)
    ),
    "clipped in the step": Fault(
        "SD005", Program(gradients="clipped"), Program(gradients="summed and clipped")
    ),
    "summed twice": Fault(
        "SD006", Program(gradients="summed"), Program(gradients="summed and divided")
    ),
    "never summed": Fault("SD007", Program(optimizer="Unsummed"), Program()),
    "one item per BatchNorm": Fault(
        "SD008",
        Program("fit", normalised="local", batch=1),
        Program("fit", normalised="synchronized", batch=8),
    ),
    "empty shard": Fault(
        "SD009",
        Program(loss="mean over replicas", items=65),
        Program(loss="mean over replicas", items=65, data="dropped"),
        ("dense", "recurrent"),  # a convolution's gradient fails on no items
    ),
    "penalty": Fault("SD010", Program(penalty="full"), Program(penalty="scaled")),
    "penalty in train_step": Fault(
        "SD010",
        Program("train_step", loss="keras", penalty="full"),
        Program("train_step", loss="keras", penalty="scaled"),
    ),
    "summed metric": Fault("SD011", Program(metric="sum"), Program(metric="sum divided")),
    "equal dropout": Fault("SD013", Program("fit", dropout=True), Program("fit")),
}
"""By name. Each is run on every kind of model, on 2 and 4 replicas."""

HEALTHY = {
    "fit": Program("fit"),
    "fit with Adam": Program("fit", optimizer="Adam", rate=1e-3),
    "fit with penalty": Program("fit", penalty="scaled"),
    "fit with an odd end": Program("fit", items=103),
    "fit eagerly": Program("fit", compiled={"run_eagerly": True}, items=32),
    "fit in mixed precision": Program("fit", policy="mixed_float16"),
    "fit with weights": Program("fit", weighted=True),
    "loop with a weighted loss": Program(loss="weighted"),
    "train_step": Program("train_step", loss="keras"),
    "loop": Program(),
    "loop with Adam": Program(optimizer="Adam", rate=1e-3, loss="keras"),
    "loop averaging gradients": Program(gradients="averaged"),
    "loop dividing gradients": Program(loss="mean", gradients="divided"),
    "loop with an odd end": Program(items=103),
    "dataset per replica": Program(data="per replica", loss="keras"),
    "penalty": Program(penalty="scaled", loss="average"),
    "one item per replica": Program(batch=1, loss="keras", items=16),
}
