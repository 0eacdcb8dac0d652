"""Runs programs of the matrix: examined and judged as a user's would be, in worker processes."""

from __future__ import annotations

import gc
import os
import signal
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from saldiag.core.files.fingerprints import FilesSeen
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.interrupts import children_without_interrupts
from saldiag.core.measurement import Measurements
from saldiag.selftest.cases import Case
from saldiag.selftest.outcome import Result

if TYPE_CHECKING:
    from saldiag.app.subject.subject import Subject

CASES_PER_PROCESS = 150
"""Cases that one process runs."""


def run_case(case: Case) -> Result:
    """Build the program, examine it and judge it; an error is a result as well."""
    import keras

    begun = time.monotonic()
    keras.backend.clear_session()
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(case.seed)
    try:
        diagnosis = _diagnose_case(case)
    except Exception as error:
        failed = " ".join(f"{type(error).__name__}: {error}".split())
        return Result(case, case.expected, seconds=_seconds_since(begun), failed=failed)
    finally:
        keras.config.set_dtype_policy("float32")
    broke = [s for s in diagnosis.skipped if s.reason.startswith("error in rule")]
    return Result(
        case,
        case.expected,
        root=diagnosis.root_cause.rule if diagnosis.root_cause else None,
        findings=tuple((f.rule, f.severity, f.message) for f in diagnosis.findings),
        verdict=diagnosis.verdict,
        seconds=_seconds_since(begun),
        failed=f"{broke[0].rule}: {broke[0].reason}" if broke else None,
    )


def _seconds_since(begun: float) -> float:
    return round(time.monotonic() - begun, 2)


def _diagnose_case(case: Case) -> Diagnosis:
    from saldiag.app.examine.in_memory import examine_model
    from saldiag.app.session.judging import judge
    from saldiag.app.subject.subject import Subject
    from saldiag.subject.program.warning_log import recording_warnings
    from saldiag.subject.source.layer_sources import recording_sources

    with warnings.catch_warnings(), recording_warnings() as recorder:
        with recording_sources(FilesSeen()) as lines:
            program = case.program()
        subject = Subject(
            program.model,
            lines.by_id(),
            program.origins,
            expected_range=program.expected_range,
        )
        if program.fit is not None:
            measured = _measure_training(subject, program.fit)
        else:
            measured = examine_model(
                subject, program.batches, plan=program.plan, max_steps=program.steps
            )
    return judge(measured.with_(recorder.warning_log()))


def _measure_training(subject: Subject, arguments: Mapping[str, Any]) -> Measurements:
    """What ``saldiag.Watch`` measures while the model trains with these arguments of ``fit``."""
    from saldiag.app.program.python_api import Watch

    class WithSources(Watch):
        """Knows the line of each layer."""

        def _subject(self, model: Any) -> Subject:  # noqa: ARG002 - there is no other model
            return subject

    watch = WithSources()
    callbacks = [*arguments.get("callbacks", ()), watch]
    subject.model.fit(**{"verbose": 0, **arguments, "callbacks": callbacks})
    return watch.diagnosis().measured


def run(chosen: Sequence[Case], jobs: int = 2, *, debug: bool = False) -> Iterator[Result]:
    """Run cases in ``jobs`` worker processes; results in the order of the cases.

    With ``debug``, what the programs write to stderr is shown.
    """
    workers: SimpleQueue[_Worker] = SimpleQueue()
    for _ in range(jobs):
        workers.put(_Worker(max(1, (os.cpu_count() or 1) // jobs), debug))
    threads = ThreadPoolExecutor(jobs)
    try:
        yield from threads.map(partial(_run_by_one_of, workers), chosen)
    finally:
        threads.shutdown(cancel_futures=True)
        while not workers.empty():
            workers.get().end()


def _run_by_one_of(workers: SimpleQueue[_Worker], case: Case) -> Result:
    worker = workers.get()
    try:
        return worker.run(case)
    finally:
        workers.put(worker)


class _Worker:
    """One process at a time. It is renewed now and then, for TensorFlow never gives memory back.

    A pool's own ``max_tasks_per_child`` can hang (CPython issue 115634), and a pool of several
    processes that are renewed together waits for the slowest.
    """

    def __init__(self, threads: int, debug: bool) -> None:
        self._threads, self._debug = threads, debug
        self._pool: ProcessPoolExecutor | None = None
        self._done = 0

    def run(self, case: Case) -> Result:
        """Run a case; a process that dies is a result, and the next case has a new one."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1,
                get_context("spawn"),
                initializer=_prepare_worker,
                initargs=(self._threads, self._debug),
            )
        self._done += 1
        try:
            with children_without_interrupts():
                running = self._pool.submit(_run_alone, case)
            return running.result()
        except BrokenProcessPool as error:
            self.end()
            return Result(case, case.expected, failed=f"its process died: {error}")
        finally:
            if self._done >= CASES_PER_PROCESS:
                self.end()

    def end(self) -> None:
        """End the process, if there is one."""
        if self._pool is not None:
            self._pool.shutdown()
        self._pool, self._done = None, 0


def _run_alone(case: Case) -> Result:
    """Run a case in a process that does nothing else.

    Keras collects garbage before each: half a second, were all of TensorFlow looked at, and what
    the cases before have left in it.
    """
    gc.collect()
    gc.freeze()
    return run_case(case)


def _prepare_worker(threads: int, debug: bool) -> None:
    """Leave Ctrl-C to the parent. What TensorFlow says of this machine is no result; errors are.

    The programs are small: threads that wait for each other, and kernels that oneDNN makes for
    each shape, take a seventh of the time and give nothing back.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not debug:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
