"""The sentence that sums a measurement up, the same on a page and on a screen."""

from __future__ import annotations

from saldiag.core.measurement import DtypeTrace, HeldOutScores, TrainableStatus
from saldiag.core.wording import bounded_percent, byte_size, grouped_count


def dtypes(trace: DtypeTrace) -> str:
    """Policy, the dtypes at the end, and what the casts between cost."""
    written = sum(cast.size for cast in trace.casts)
    outputs = ", ".join(trace.output_dtypes) or "unknown"
    return (
        f"Policy {trace.policy}; output {outputs}, loss {trace.loss_dtype or 'unknown'}. "
        f"{grouped_count(len(trace.casts), 'cast')} of dtype: {byte_size(written)} written "
        f"for a batch of {trace.batch_size}."
    )


def trainable(status: TrainableStatus) -> str:
    """How much of the model trains."""
    part = status.trainable_parameters / status.parameters if status.parameters else float("nan")
    return (
        f"{status.trainable_parameters:,} of {status.parameters:,} parameters are trainable "
        f"({bounded_percent(part)})."
    )


SCORED = (
    "8-bit masks at the ground truths' own size; beta² = 0.3 in max, mean and weighted F; max F, "
    "mean F and mean E from the mean curve over 256 thresholds, adaptive E cut at twice each "
    "mask's mean"
)
"""How the metrics of masks are computed."""


def held_out(found: HeldOutScores) -> str:
    """Which checkpoint was scored, and on which pictures."""
    scored = sum(row.pictures for row in found.rows)
    of = "" if scored == found.available else f" of {found.available:,}"
    part = (
        "that took no part in the training"
        if found.part == "test"
        else "of the validation part, which also chose the checkpoint"
    )
    height, width = found.image_size
    return (
        f"Best checkpoint (epoch {found.epoch}) at {height}x{width} on"
        f" {scored:,}{of} pictures {part}."
    )
