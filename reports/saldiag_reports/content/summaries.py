"""Sentences that summarize a measurement, for the page and the terminal."""

from __future__ import annotations

from saldiag.core.measurement import DtypeTrace, HeldOutScores, TrainableStatus
from saldiag.core.wording import grouped_count, share_text, size_text


def dtype_summary(trace: DtypeTrace) -> str:
    """Dtype policy, dtypes of outputs and loss, and the bytes that the casts write."""
    written = sum(cast.size for cast in trace.casts)
    outputs = ", ".join(trace.output_dtypes) or "unknown"
    casts = grouped_count(len(trace.casts), "dtype cast")
    write = "writes" if len(trace.casts) == 1 else "write"
    return (
        f"Policy {trace.policy}; output {outputs}, loss {trace.loss_dtype or 'unknown'}. "
        f"{casts} {write} {size_text(written)} for a batch of {trace.batch_size}."
    )


def trainable_summary(status: TrainableStatus) -> str:
    """How many of the parameters are trainable."""
    share = status.trainable_parameters / status.parameters if status.parameters else float("nan")
    return (
        f"{status.trainable_parameters:,} of {status.parameters:,} parameters are trainable "
        f"({share_text(share)})."
    )


MASK_SCORING = (
    "8-bit masks in the size of the ground truth; beta² = 0.3 in max, mean and weighted F; max F, "
    "mean F and mean E from the mean curve over 256 thresholds; adaptive E with twice the mean of "
    "each mask as its threshold"
)
"""How the metrics of predicted masks are computed."""


def held_out_summary(scores: HeldOutScores) -> str:
    """Which checkpoint was scored, and on which images."""
    scored = sum(row.pictures for row in scores.rows)
    of = "" if scored == scores.available else f" of {scores.available:,}"
    part = (
        "that were not used in training"
        if scores.part == "test"
        else "of the validation split, which also chose the checkpoint"
    )
    height, width = scores.image_size
    return (
        f"Best checkpoint (epoch {scores.epoch}) at {height}x{width} on"
        f" {scored:,}{of} images {part}."
    )
