"""Runs programs of the matrix: examined and judged as a user's would be, in worker processes."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from saldiag.core.diagnosis import Diagnosis
from saldiag.selftest.cases import Case
from saldiag.selftest.outcome import Result

RENEWED_AFTER = 60
"""Cases that one process runs."""


def run_case(case: Case) -> Result:
    """Build the program, examine it and judge it; an error is a result as well."""
    import keras

    begun = time.monotonic()
    keras.backend.clear_session()
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(case.seed)
    try:
        diagnosis = _diagnosed(case)
    except Exception as error:
        failed = " ".join(f"{type(error).__name__}: {error}".split())
        return Result(case, case.expected, seconds=_since(begun), failed=failed)
    finally:
        keras.config.set_dtype_policy("float32")
    broke = [s for s in diagnosis.skipped if s.reason.startswith("error in rule")]
    return Result(
        case,
        case.expected,
        root=diagnosis.root_cause.rule if diagnosis.root_cause else None,
        findings=tuple((f.rule, f.severity, f.message) for f in diagnosis.findings),
        verdict=diagnosis.verdict,
        seconds=_since(begun),
        failed=f"{broke[0].rule}: {broke[0].reason}" if broke else None,
    )


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 2)


def _diagnosed(case: Case) -> Diagnosis:
    from saldiag.app.judging import judge
    from saldiag.app.load import Subject
    from saldiag.app.model import examine_model
    from saldiag.subject.sources import recording_sources
    from saldiag.subject.warning_log import recording_warnings

    with warnings.catch_warnings(), recording_warnings() as recorder:
        with recording_sources() as lines:
            program = case.program()
        subject = Subject(
            program.model,
            lines.by_id(),
            program.origins,
            expected_range=program.expected_range,
        )
        measured = examine_model(
            subject, program.batches, plan=program.plan, max_steps=program.steps
        )
    return judge(measured.with_(recorder.log()))


def run(chosen: Sequence[Case], jobs: int = 2) -> Iterator[Result]:
    """Run cases in ``jobs`` worker processes; results in the order of the cases."""
    # Processes are renewed now and then, for TensorFlow never gives memory back. The pool's own
    # max_tasks_per_child can hang (CPython issue 115634).
    for start in range(0, len(chosen), jobs * RENEWED_AFTER):
        some = chosen[start : start + jobs * RENEWED_AFTER]
        pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_start)
        try:
            for case, future in [(case, pool.submit(run_case, case)) for case in some]:
                yield _result(case, future)
        finally:
            pool.shutdown(cancel_futures=True)


def _start() -> None:
    """Leave Ctrl-C to the parent. What TensorFlow says of this machine is no result; errors are."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not os.environ.get("SALDIAG_DEBUG"):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _result(case: Case, future: Future[Result]) -> Result:
    try:
        return future.result()
    except BrokenProcessPool as error:
        return Result(case, case.expected, failed=f"its process died: {error}")
