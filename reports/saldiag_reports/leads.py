"""The sentence that sums a measurement up, the same on a page and on a screen."""

from __future__ import annotations

from saldiag.core.measurement import DtypeTrace, TrainableStatus
from saldiag_reports.wording import count, share, size


def dtypes(trace: DtypeTrace) -> str:
    """Policy, the dtypes at the end, and what the casts between cost."""
    written = sum(cast.size for cast in trace.casts)
    outputs = ", ".join(trace.output_dtypes) or "unknown"
    return (
        f"Policy {trace.policy}; output {outputs}, loss {trace.loss_dtype or 'unknown'}. "
        f"{count(len(trace.casts), 'cast')} of dtype: {size(written)} written "
        f"for a batch of {trace.batch_size}."
    )


def trainable(status: TrainableStatus) -> str:
    """How much of the model trains."""
    part = status.trainable_parameters / status.parameters if status.parameters else float("nan")
    return (
        f"{status.trainable_parameters:,} of {status.parameters:,} parameters are trainable "
        f"({share(part)})."
    )
