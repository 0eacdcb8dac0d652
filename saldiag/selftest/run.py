"""Running programs of the matrix in worker processes, diagnosed as a user's program is."""

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
    from saldiag.app.loading.subject import Subject

CASES_PER_PROCESS = 150
"""How many cases a worker process runs before a new one replaces it."""


def run_case(case: Case) -> Result:
    """Build and diagnose a program; an error becomes a failed result."""
    import keras

    started = time.monotonic()
    keras.backend.clear_session()
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(case.seed)
    try:
        diagnosis = _diagnose_case(case)
    except Exception as error:
        failed = " ".join(f"{type(error).__name__}: {error}".split())
        return Result(case, case.expected, seconds=_seconds_since(started), failed=failed)
    finally:
        keras.config.set_dtype_policy("float32")
    broke = [s for s in diagnosis.skipped if s.reason.startswith("error in rule")]
    return Result(
        case,
        case.expected,
        root=diagnosis.root_cause.rule if diagnosis.root_cause else None,
        findings=tuple((f.rule, f.severity, f.message) for f in diagnosis.findings),
        verdict=diagnosis.verdict,
        seconds=_seconds_since(started),
        failed=f"{broke[0].rule}: {broke[0].reason}" if broke else None,
    )


def _seconds_since(started: float) -> float:
    return round(time.monotonic() - started, 2)


def _diagnose_case(case: Case) -> Diagnosis:
    from saldiag.app.examine.in_memory import examine_model
    from saldiag.app.loading.subject import Subject
    from saldiag.app.session.judging import judge
    from saldiag.subject.program.warning_log import recording_warnings
    from saldiag.subject.source.layer_sources import recording_sources

    with warnings.catch_warnings(), recording_warnings() as recorder:
        with recording_sources(FilesSeen()) as lines:
            program = case.build_program()
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
    """What ``saldiag.Watch`` measures while the model trains with these ``fit`` arguments."""
    from saldiag.app.watching.python_api import Watch

    class WithSources(Watch):
        """Knows the source line of each layer."""

        def _subject_of(self, model: Any) -> Subject:  # noqa: ARG002 - there is no other model
            return subject

    watch = WithSources()
    callbacks = [*arguments.get("callbacks", ()), watch]
    subject.model.fit(**{"verbose": 0, **arguments, "callbacks": callbacks})
    return watch.diagnosis().measured


def run(chosen: Sequence[Case], jobs: int = 2, *, debug: bool = False) -> Iterator[Result]:
    """Run cases in worker processes.

    Args:
        chosen: the cases.
        jobs: number of processes.
        debug: whether to show what the programs write to stderr.

    Yields:
        The results, in the order of the cases.
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
            workers.get().shut_down()


def _run_by_one_of(workers: SimpleQueue[_Worker], case: Case) -> Result:
    worker = workers.get()
    try:
        return worker.run(case)
    finally:
        workers.put(worker)


class _Worker:
    """One process, replaced after ``CASES_PER_PROCESS`` cases because TensorFlow frees no memory.

    The ``max_tasks_per_child`` of a pool can hang (CPython issue 115634), and a pool of several
    processes that are replaced together waits for the slowest.
    """

    def __init__(self, threads: int, debug: bool) -> None:
        self._threads, self._debug = threads, debug
        self._pool: ProcessPoolExecutor | None = None
        self._cases_run = 0

    def run(self, case: Case) -> Result:
        """Run a case; if the process dies, that is the result, and the next case gets a new one."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1,
                get_context("spawn"),
                initializer=_prepare_worker,
                initargs=(self._threads, self._debug),
            )
        self._cases_run += 1
        try:
            with children_without_interrupts():
                running = self._pool.submit(_run_alone, case)
            return running.result()
        except BrokenProcessPool as error:
            self.shut_down()
            return Result(case, case.expected, failed=f"its process died: {error}")
        finally:
            if self._cases_run >= CASES_PER_PROCESS:
                self.shut_down()

    def shut_down(self) -> None:
        """End the process, if there is one."""
        if self._pool is not None:
            self._pool.shutdown()
        self._pool, self._cases_run = None, 0


def _run_alone(case: Case) -> Result:
    """Run a case in a worker process.

    Keras collects garbage before each case. Freezing what exists so far spares it half a second:
    the objects of TensorFlow and of earlier cases are not examined again.
    """
    gc.collect()
    gc.freeze()
    return run_case(case)


def _prepare_worker(threads: int, debug: bool) -> None:
    """Prepare a new worker process: ignore Ctrl-C, limit TensorFlow's threads, hide its messages.

    The programs are small: waiting threads, and oneDNN's kernels for each shape, cost a seventh of
    the time without any benefit.

    Args:
        threads: number of threads of TensorFlow.
        debug: whether to keep stderr.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not debug:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
