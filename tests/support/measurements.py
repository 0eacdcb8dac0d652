"""A healthy model in plain numbers, with every measurement there is, and ways to change it.

``healthy()`` is a small segmentation network (encoder: convolution, BatchNorm, ReLU; a one-channel
head with sigmoid) that learns. A fault changes what the fault would change, nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from saldiag.core.measurement import (
    ActivationRow,
    Activations,
    Baselines,
    DataFacts,
    Distribution,
    DtypeRow,
    DtypeTrace,
    FlowRow,
    ForeignObjects,
    GradientFlow,
    GradientHistory,
    ItemFacts,
    LayerCall,
    LossCheck,
    LossTerm,
    MaskGreys,
    MaskPairing,
    Measurement,
    Measurements,
    NormalizationRow,
    OverfitHistory,
    PlannedCallback,
    Seeds,
    Source,
    StateSpread,
    StatisticsRow,
    TensorFacts,
    TrainableRow,
    TrainableStatus,
    TrainingHistory,
    TrainingPlan,
    ValidationCheck,
    VariableGradient,
    VariableInfo,
    WarningLog,
    Wiring,
)

IMAGE = (None, 8, 8, 3)
FEATURES = (None, 8, 8, 16)
MASK = (None, 8, 8, 1)
STEPS = 60


def call(path: str, kind: str, *inputs: str, **fields: Any) -> LayerCall:
    """A leaf call; its layer is its path, its source a line of ``model.py``."""
    fields = {
        "layer": path.split("#", maxsplit=1)[0],
        "depth": path.count("/") + 1,
        "leaf": True,
        "input_shapes": (FEATURES,),
        "output_shapes": (FEATURES,),
        "source": Source("project/model.py", 10 + len(path)),
        **fields,
    }
    return LayerCall(path=path, kind=kind, inputs=inputs, **fields)


CALLS = (
    call("encoder", "Functional", "", leaf=False, parameters=512, source=None),
    call("encoder/conv", "Conv2D", "", parameters=432, config={"kernel_size": [3, 3]}),
    call("encoder/norm", "BatchNormalization", "encoder/conv", parameters=64),
    call("encoder/relu", "ReLU", "encoder/norm", activation="relu"),
    call("head", "Conv2D", "encoder/relu", parameters=145, output_shapes=(MASK,)),
    call("output", "Activation", "head", activation="sigmoid", output_shapes=(MASK,)),
)


def wiring(*calls: LayerCall, **fields: Any) -> Wiring:
    """A compiled model made of these calls; the last is its output."""
    calls = calls or CALLS
    leaves = [c for c in calls if c.leaf]
    fields = {
        "model": "subject",
        "outputs": (leaves[-1].path,),
        "loss": "mean_absolute_error",
        "loss_config": {"from_logits": False},
        "optimizer": "Adam",
        "learning_rate": 1e-3,
        "precision": "float32",
        "loss_scaled": False,
        "parameters": 641,
        "trainable_parameters": 609,
        "blocked": (),
        "untracked": (),
        "ignored": (),
        "unused": (),
        **fields,
    }
    return Wiring(calls=calls, **fields)


VARIABLES = {
    "encoder/conv/kernel": ("encoder/conv", (3, 3, 3, 16)),
    "encoder/norm/gamma": ("encoder/norm", (16,)),
    "encoder/norm/beta": ("encoder/norm", (16,)),
    "head/kernel": ("head", (3, 3, 16, 1)),
    "head/bias": ("head", (1,)),
}


def gradients(norms: dict[str, float] | None = None, **fields: Any) -> GradientHistory:
    """``STEPS`` steps; every variable's norm falls a little, as it does where a model learns.

    ``norms`` maps variables to a norm (the same at each step); other names are added as kernels.
    """
    infos = tuple(
        VariableInfo(path, *VARIABLES.get(path, (path.rpartition("/")[0], (3, 3, 8, 8))), "float32")
        for path in (norms or VARIABLES)
    )
    steps = np.arange(1, STEPS + 1)
    level = np.array([(norms or {}).get(info.path, 0.1) for info in infos])
    norm = np.exp(-0.02 * steps)[:, None] * level
    ones = np.ones_like(norm)
    fields = {
        "variables": infos,
        "steps": steps,
        "norm": norm,
        "mean": norm / 20,
        "maximum": norm / 4,
        "zero_share": 0 * ones,
        "nonfinite_share": 0 * ones,
        "update_ratio": 0.003 * ones,
        "weight_norm": ones,
        "loss_scale": np.ones(STEPS),
        "loss": 0.5 * np.exp(-0.06 * steps),
        **fields,
    }
    return GradientHistory(**fields)


def flow_row(path: str, kind: str, out: float | None, into: float | None, **more: Any) -> FlowRow:
    """A row of the gradient flow."""
    fields = {"layer": path, "depth": path.count("/") + 1, "leaf": True, **more}
    return FlowRow(path=path, kind=kind, output_gradient=out, input_gradient=into, **fields)


def flow(norms: dict[str, float | None] | None = None, **fields: Any) -> GradientFlow:
    """Every leaf of ``CALLS`` gets a gradient and passes it on."""
    rows = tuple(flow_row(c.path, c.kind, 0.4, 0.3) for c in CALLS if c.leaf)
    variables = tuple(
        VariableGradient(path, path.rpartition("/")[0], norm, 0.0 if norm else 1.0, 0.0)
        for path, norm in (norms or dict.fromkeys(VARIABLES, 0.1)).items()
    )
    return GradientFlow(**{
        "rows": rows, "variables": variables, "loss": 0.5, "training": True, **fields,
    })  # fmt: skip


def dtypes(**fields: Any) -> DtypeTrace:
    """Everything in float32."""
    rows = tuple(dtype_row(c.path, c.kind, "float32", c.parameters) for c in CALLS if c.leaf)
    fields = {
        "policy": "float32",
        "rows": rows,
        "casts": (),
        "output_dtypes": ("float32",),
        "loss_dtype": "float32",
        "batch_size": 8,
        "wrapped": (),
        **fields,
    }
    return DtypeTrace(**fields)


def dtype_row(path: str, kind: str, compute: str, parameters: int = 0) -> DtypeRow:
    """A leaf call that takes and gives its compute dtype."""
    return DtypeRow(path, path, kind, path.count("/") + 1, True, compute, "float32", (compute,),
                    (compute,), parameters)  # fmt: skip


def trainable_row(path: str, size: int = 432, **fields: Any) -> TrainableRow:
    """A variable that trains, far from its start."""
    layer, _, role = path.rpartition("/")
    fields = {
        "kind": "Conv2D",
        "layer_flag": True,
        "parents_flag": True,
        "variable_flag": True,
        "in_layer": True,
        "in_model": True,
        "in_optimizer": True,
        "has_gradient": True,
        "changed": True,
        "start_distance": 8.0,
        **fields,
    }
    return TrainableRow(path=path, layer=layer, role=role, size=size, **fields)


FROZEN = {
    "layer_flag": False, "in_layer": False, "in_model": False, "in_optimizer": False,
    "has_gradient": False, "changed": False,
}  # fmt: skip


def trainable(*rows: TrainableRow, **fields: Any) -> TrainableStatus:
    """Every variable of ``VARIABLES`` trains; BatchNorm in training mode."""
    rows = rows or tuple(trainable_row(path) for path in VARIABLES)
    fields = {
        "normalization": (NormalizationRow("encoder/norm", True, True, 0.99, False),),
        "parameters": 641,
        "trainable_parameters": 609,
        **fields,
    }
    return TrainableStatus(rows=rows, **fields)


def activation_row(path: str, **fields: Any) -> ActivationRow:
    """A leaf output with an ordinary spread."""
    fields = {
        "kind": "Conv2D",
        "activation": None,
        "mean": 0.1,
        "std": 1.0,
        "minimum": -3.0,
        "maximum": 3.0,
        "zero_share": 0.0,
        "dead_share": 0.0,
        "saturated_share": float("nan"),
        "nonfinite_share": 0.0,
        "sample_variation": 0.8,
        **fields,
    }
    return ActivationRow(path=path, layer=path, depth=path.count("/") + 1, leaf=True, **fields)


def activations(*rows: ActivationRow, **fields: Any) -> Activations:
    """Every leaf of ``CALLS`` varies across samples."""
    rows = rows or tuple(
        activation_row(c.path, kind=c.kind, activation=c.activation) for c in CALLS if c.leaf
    )
    return Activations(**{"rows": rows, "training": True, "batch_size": 8, **fields})


def tensor(name: str, low: float, high: float, **fields: Any) -> TensorFacts:
    """A tensor spread evenly over a range."""
    fields = {
        "shape": (None, 8, 8, 1),
        "dtype": "float32",
        "mean": (low + high) / 2,
        "std": (high - low) / 3.46,
        "nan_share": 0.0,
        "sample_variation": 0.5 if high > low else 0.0,
        "distinct": 1000 if high > low else 1,
        **fields,
    }
    return TensorFacts(name=name, minimum=low, maximum=high, **fields)


def data(**fields: Any) -> DataFacts:
    """Pictures in [-1, 1], masks in {0, 1}, predictions in between."""
    fields = {
        "inputs": (tensor("image", -1.0, 1.0, shape=IMAGE),),
        "targets": (tensor("mask", 0.0, 1.0, distinct=2),),
        "predictions": (tensor("output", 0.2, 0.8),),
        "baselines": Baselines("mean_absolute_error", 0.3, 0.0, 0.25, "median"),
        "samples": 8,
        **fields,
    }
    return DataFacts(**fields)


def items(**fields: Any) -> ItemFacts:
    """Arrays of 400 pictures with masks that lie on them, and 100 others; shuffled by ``fit``."""
    fields = {
        "source": "arrays",
        "read": 400,
        "whole": True,
        "batches": 50,
        "endless": False,
        "batch_size": None,
        "reordered": True,
        "validation": 100,
        "shared": 0,
        "repeated": 0,
        "values": 150.0,
        "pairing": MaskPairing(256, 0.8, 0.01, 0.2),
        "greys": MaskGreys(256, 0.0, float("nan"), float("nan")),
        **fields,
    }
    return ItemFacts(**fields)


def loss_check(**fields: Any) -> LossCheck:
    """Keras and the predictions agree but for rounding."""
    fields = {
        "loss": "mean_absolute_error",
        "reported": 0.4801,
        "recomputed": 0.48009,
        "regularization": 0.0,
        "reported_training": 0.5,
        "recomputed_training": 0.5,
        **fields,
    }
    return LossCheck(**fields)


def overfit(errors: Any = None, **fields: Any) -> OverfitHistory:
    """A test that memorises 8 samples in 60 steps; ``errors`` per step (STEPS + 1) in training."""
    curve = 0.5 * np.exp(-0.06 * np.arange(STEPS + 1)) if errors is None else np.asarray(errors)
    checked = np.arange(0, len(curve), 10)
    fields = {
        "metric": "mean_absolute_error",
        "items": 8,
        "subset_items": 8,
        "batch_size": 8,
        "image_size": 96,
        "steps": np.arange(1, len(curve)),
        "loss": curve[1:],
        "checked": checked,
        "training_error": curve[checked],
        "inference_error": curve[checked] * 1.1,
        "recalibrated_error": float(curve[-1]),
        "baseline_constant": 0.3,
        "baseline_independent": 0.25,
        "prediction_variation": 0.5,
        "no_gradient": False,
        "stopped": "memorised",
        "budget_seconds": 180.0,
        "max_steps": 400,
        **fields,
    }
    return OverfitHistory(**fields)


def stuck(level: float = 0.5, **fields: Any) -> OverfitHistory:
    """A test that ran its steps and stayed at ``level``, up to noise."""
    noise = 0.002 * np.random.default_rng(0).normal(size=STEPS + 1)
    return overfit(level + noise, **{"stopped": "steps", **fields})


def plan(*callbacks: PlannedCallback, **fields: Any) -> TrainingPlan:
    """20 epochs of 100 steps at a rate that falls from 1e-3 to a tenth of it."""
    fields = {
        "epochs": 20,
        "steps_per_epoch": 100,
        "schedule": "CosineDecay",
        "schedule_config": {"decay_steps": 2000, "alpha": 0.1},
        "at": np.arange(20.0),
        "rates": np.linspace(1e-3, 1e-4, 20),
        "peak": 1e-3,
        **fields,
    }
    return TrainingPlan(callbacks=callbacks, **fields)


def stopping(monitor: str = "val_loss", **fields: Any) -> PlannedCallback:
    """Early stopping on a quantity that is better the lower it is."""
    config = {"monitor": monitor, "patience": 5, "mode": "auto", "start_from_epoch": 0}
    known = {name: fields.pop(name) for name in list(fields) if name in config}
    fields = {"direction": "min", "metric_direction": "min", **fields}
    return PlannedCallback("EarlyStopping", {**config, **known}, **fields)


def course(loss: Any = None, val_loss: Any = None, **curves: Any) -> TrainingHistory:
    """Ten epochs in which the loss falls to a tenth and ``val_loss`` goes along."""
    loss = 0.3 * np.exp(-0.25 * np.arange(10)) if loss is None else np.asarray(loss, float)
    held = 1.1 * loss if val_loss is None else np.asarray(val_loss, float)
    named = {"loss": loss, "val_loss": held, **{k: np.asarray(v, float) for k, v in curves.items()}}
    return TrainingHistory(tuple(named), np.arange(1, len(loss) + 1), np.array([*named.values()]))


def around(mean: float, spread: float = 0.1, count: int = 32) -> Any:
    """Errors of ``count`` items, evenly spread by ``spread`` of their mean."""
    return mean * (1 + spread * np.linspace(-1, 1, count))


def validation(
    inference: float = 0.035,
    reestimated: float = 0.033,
    train: float = 0.03,
    **fields: Any,
) -> ValidationCheck:
    """A check after the last of ten epochs; errors on validation and on training samples."""
    fields = {
        "loss": "mean_absolute_error",
        "items": 32,
        "training_items": 32,
        "checked": np.array([10]),
        "steps": np.array([500]),
        "inference": np.array([inference]),
        "training": np.array([reestimated]),
        "reestimated": np.array([reestimated]),
        "train_inference": np.array([train + max(0.0, inference - reestimated)]),
        "train_training": np.array([train]),
        "train_reestimated": np.array([train]),
        "item_errors": around(inference),
        "reestimated_item_errors": around(reestimated),
        "train_item_errors": around(train),
        "statistics": (StatisticsRow("encoder/norm", 0.99, 1.02, 0.01, 0.02),),
        "repeat_difference": 0.0,
        "company_difference": 0.0,
        **fields,
    }
    return ValidationCheck(**fields)


def healthy(*others: Measurement) -> Measurements:
    """Everything measured, nothing wrong; ``others`` replace what they are of the type of."""
    return Measurements.of(
        wiring(), gradients(), flow(), dtypes(), trainable(), activations(), data(), loss_check(),
        overfit(), WarningLog(warnings=()), items(), plan(), ForeignObjects(()),
        Seeds(keras=True, tensorflow=True, deterministic=False), course(), validation(),
    ).with_(*others)  # fmt: skip


def calls_with(path: str, **fields: Any) -> tuple[LayerCall, ...]:
    """``CALLS`` with one of them changed."""
    return tuple(replace(c, **fields) if c.path == path else c for c in CALLS)


def rows_with(rows: tuple[Any, ...], path: str, **fields: Any) -> tuple[Any, ...]:
    """Rows of any measurement with the one at ``path`` changed."""
    return tuple(replace(row, **fields) if row.path == path else row for row in rows)


def distribution(replicas: int = 2, **fields: Any) -> Distribution:
    """Four steps of a sum over 16 items per replica, divided by the global batch."""
    shape = (4, replicas)
    each = np.full(replicas, 16.0)
    term = LossTerm(
        1.0, 1.0, averaged=False, factor=1 / (16 * replicas), source=Source("train.py", 21)
    )
    fields = {
        "strategy": "MirroredStrategy",
        "steps": 60,
        "items": np.full(shape, 16.0),
        "fewest_items": each,
        "most_items": each,
        "empty_steps": 0 * each,
        "empty_nonfinite": 0 * each,
        "fingerprints": np.arange(8.0 * replicas).reshape(*shape, 2),
        "loss": np.full(shape, 0.25),
        "terms": (term,),
        "penalty": np.zeros(shape),
        "full_penalty": np.full(shape, np.nan),
        "gradient_norm": np.full(shape, 0.1),
        "largest_norm": np.full(shape, 0.08),
        "largest_value": np.full(shape, 0.03),
        "gradient_factor": 1.0,
        "sum_norm": np.full(4, 0.15),
        "cosine": np.full(4, 0.9),
        "sums_in_step": 0,
        "sums_in_optimizer": 1,
        "spread": (
            StateSpread("head/kernel", "weight", 0.0),
            StateSpread("encoder/norm", "statistic", 0.02),
            StateSpread("adam/head_kernel_momentum", "slot", 0.0),
        ),
        "optimizer": "SGD",
        "learning_rate": 0.1,
        "rate_scaled": False,
        "weight_digests": ("a" * 64,),
        **fields,
    }
    return Distribution(replicas=replicas, **fields)


def loss_term(weight: float, **fields: Any) -> LossTerm:
    """A mean over the items of each replica that enters its loss unchanged."""
    fields = {"averaged": True, "source": Source("train.py", 21), **fields}
    return LossTerm(weight, 1.0, **fields)
