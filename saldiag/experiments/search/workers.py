"""Who does the jobs: this process, processes beside it, or machines of a Ray cluster.

Whoever it is does them by the same ``Worker``: it builds the model once, and then trains one arm
after the other.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context
from typing import Any

from saldiag.core.errors import SaldiagError
from saldiag.core.interrupts import children_without_interrupts
from saldiag.core.measurement import Arm
from saldiag.experiments.search.lab import Lab
from saldiag.experiments.search.plan import Job
from saldiag.experiments.search.runner import Results, Workers

Make = Callable[[], Lab]
"""Builds the model and the batches; it has to come through ``pickle``."""


class Worker:
    """A lab, built when the first job comes and open from then on."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._lab: Lab | None = None
        self._stack = contextlib.ExitStack()

    def do(self, job: Job, until: float) -> Arm:
        """Do one job; ``until`` is when to end (``time.time``)."""
        if self._lab is None:
            lab = self._make()
            self._stack.enter_context(lab.open())
            self._lab = lab
        self._lab.deadline = time.monotonic() + until - time.time()
        return self._lab.arm(job.names, job.seeds, job.steps)

    def close(self) -> None:
        """Put the model back as it was."""
        self._stack.close()
        self._lab = None


@contextmanager
def here(make: Make) -> Iterator[Workers]:
    """One job after the other, in this process."""
    worker = Worker(make)

    def work(jobs: Sequence[Job], deadline: float) -> Results:
        for job in jobs:
            if time.monotonic() > deadline:
                return
            yield job, worker.do(job, _clock(deadline))

    try:
        yield work
    finally:
        worker.close()


@contextmanager
def beside(make: Make, jobs: int, *, debug: bool = False) -> Iterator[Workers]:
    """Side by side in ``jobs`` processes, which share the processors.

    With ``debug``, what they write to stderr is shown.

    Raises:
        SaldiagError: a process died.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = ProcessPoolExecutor(
        jobs, get_context("spawn"), initializer=_start, initargs=(make, threads, debug)
    )

    def work(todo: Sequence[Job], deadline: float) -> Results:
        with children_without_interrupts():
            futures = {pool.submit(_do, job, _clock(deadline)): job for job in todo}
        for future in _as_they_come(futures):
            try:
                arm = future.result()
            except BrokenProcessPool as error:
                raise SaldiagError(f"a worker process died ({error}): try --jobs 1") from error
            if arm is not None:
                yield futures[future], arm

    try:
        yield work
    finally:
        _end(pool)


def _as_they_come(futures: dict[Future[Arm | None], Job]) -> Iterator[Future[Arm | None]]:
    left = set(futures)
    while left:
        done, left = wait(left, return_when=FIRST_COMPLETED)
        yield from done


def _end(pool: ProcessPoolExecutor) -> None:
    """End the processes now: what they are at is not wanted any more."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(5)


_OF_THIS_PROCESS: list[Worker] = []


def _start(make: Make, threads: int, debug: bool) -> None:
    """Leave Ctrl-C to the parent; what the model's code prints is not the parent's output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it is not blocked
    if not debug:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stdout = sys.stderr
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    _OF_THIS_PROCESS[:] = [Worker(make)]


def _do(job: Job, until: float) -> Arm | None:
    if time.time() > until:
        return None
    return _OF_THIS_PROCESS[0].do(job, until)


@contextmanager
def on_ray(make: Make, jobs: int, address: str) -> Iterator[Workers]:
    """On ``jobs`` actors of a Ray cluster; ``address`` as ``ray.init`` takes it.

    Raises:
        SaldiagError: Ray is not installed, or there is no cluster there.
    """
    ray = _ray(address)
    remote = ray.remote(Worker)
    actors = [remote.remote(make) for _ in range(jobs)]

    def work(todo: Sequence[Job], deadline: float) -> Results:
        waiting, free = list(todo), list(actors)
        running: dict[Any, tuple[Any, Job]] = {}
        while waiting or running:
            while waiting and free and time.monotonic() < deadline:
                actor, job = free.pop(), waiting.pop(0)
                running[actor.do.remote(job, _clock(deadline))] = (actor, job)
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1)
            actor, job = running.pop(done[0])
            free.append(actor)
            yield job, ray.get(done[0])

    try:
        yield work
    finally:
        for actor in actors:
            ray.kill(actor)
        ray.shutdown()


def _ray(address: str) -> Any:
    try:
        import ray
    except ImportError as error:
        raise SaldiagError("--ray needs Ray: pip install 'saldiag[ray]'") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise SaldiagError(f"--ray {address}: no cluster can be reached ({told})") from error
    return ray


def _clock(deadline: float) -> float:
    """A time of ``time.monotonic`` as one of ``time.time``, which other processes share."""
    return time.time() + deadline - time.monotonic()


def workers_of(
    make: Make, jobs: int = 1, ray: str | None = None, *, debug: bool = False
) -> AbstractContextManager[Workers]:
    """Workers in this process, in ``jobs`` processes or on a Ray cluster.

    With ``debug``, what the processes write to stderr is shown.
    """
    if ray is not None:
        return on_ray(make, jobs, ray)
    return beside(make, jobs, debug=debug) if jobs > 1 else here(make)
