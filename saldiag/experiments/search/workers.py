"""Where jobs run: in this process, in worker processes, or on a Ray cluster.

All of them use the same ``Worker``, which builds the model once and then trains one arm after the
other.
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

LabFactory = Callable[[], Lab]
"""Builds the lab; has to be picklable for other processes."""


class Worker:
    """Runs jobs in a lab that is built and opened at the first job."""

    def __init__(self, make: LabFactory) -> None:
        self._make = make
        self._lab: Lab | None = None
        self._stack = contextlib.ExitStack()

    def run_job(self, job: Job, until: float) -> Arm:
        """Train one arm.

        Args:
            job: the arm.
            until: when trainings end, in seconds of ``time.time``.
        """
        if self._lab is None:
            lab = self._make()
            self._stack.enter_context(lab.open())
            self._lab = lab
        self._lab.deadline = time.monotonic() + until - time.time()
        return self._lab.run_arm(job.names, job.seeds, job.steps)

    def close(self) -> None:
        """Restore the model."""
        self._stack.close()
        self._lab = None


@contextmanager
def local_worker(make: LabFactory) -> Iterator[Workers]:
    """Run one job after the other in this process."""
    worker = Worker(make)

    def run_jobs(jobs: Sequence[Job], deadline: float) -> Results:
        for job in jobs:
            if time.monotonic() > deadline:
                return
            yield job, worker.run_job(job, _wall_clock(deadline))

    try:
        yield run_jobs
    finally:
        worker.close()


@contextmanager
def process_workers(make: LabFactory, jobs: int, *, debug: bool = False) -> Iterator[Workers]:
    """Run jobs in parallel in ``jobs`` processes, which share the CPU cores.

    Args:
        make: builds the lab in each process.
        jobs: number of processes.
        debug: whether to show what the processes write to stderr.

    With ``debug``, what they write to stderr is shown.

    Raises:
        SaldiagError: a process died; raised while jobs run.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = ProcessPoolExecutor(
        jobs, get_context("spawn"), initializer=_init_process, initargs=(make, threads, debug)
    )

    def run_jobs(todo: Sequence[Job], deadline: float) -> Results:
        with children_without_interrupts():
            futures = {
                pool.submit(_run_in_process, job, _wall_clock(deadline)): job for job in todo
            }
        for future in _as_completed(futures):
            try:
                arm = future.result()
            except BrokenProcessPool as error:
                raise SaldiagError(f"a worker process died ({error}): try --jobs 1") from error
            if arm is not None:
                yield futures[future], arm

    try:
        yield run_jobs
    finally:
        _terminate_pool(pool)


def _as_completed(futures: dict[Future[Arm | None], Job]) -> Iterator[Future[Arm | None]]:
    left = set(futures)
    while left:
        done, left = wait(left, return_when=FIRST_COMPLETED)
        yield from done


def _terminate_pool(pool: ProcessPoolExecutor) -> None:
    """End the processes at once; the results of their current jobs are not needed."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(5)


_PROCESS_WORKER: list[Worker] = []
"""The worker of this process, in a worker process; otherwise empty."""


def _init_process(make: LabFactory, threads: int, debug: bool) -> None:
    """Set up a worker process that ignores Ctrl-C and drops the output of the model's code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it is not blocked
    if not debug:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stdout = sys.stderr
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    _PROCESS_WORKER[:] = [Worker(make)]


def _run_in_process(job: Job, until: float) -> Arm | None:
    if time.time() > until:
        return None
    return _PROCESS_WORKER[0].run_job(job, until)


@contextmanager
def ray_workers(make: LabFactory, jobs: int, address: str) -> Iterator[Workers]:
    """Run jobs on ``jobs`` actors of a Ray cluster.

    Args:
        make: builds the lab on each actor.
        jobs: number of actors.
        address: address of the cluster, as ``ray.init`` takes it.

    Raises:
        SaldiagError: Ray is not installed, or the cluster cannot be reached.
    """
    ray = _connect_ray(address)
    remote = ray.remote(Worker)
    actors = [remote.remote(make) for _ in range(jobs)]

    def run_jobs(todo: Sequence[Job], deadline: float) -> Results:
        waiting, free = list(todo), list(actors)
        running: dict[Any, tuple[Any, Job]] = {}
        while waiting or running:
            while waiting and free and time.monotonic() < deadline:
                actor, job = free.pop(), waiting.pop(0)
                running[actor.run_job.remote(job, _wall_clock(deadline))] = (actor, job)
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1)
            actor, job = running.pop(done[0])
            free.append(actor)
            yield job, ray.get(done[0])

    try:
        yield run_jobs
    finally:
        for actor in actors:
            ray.kill(actor)
        ray.shutdown()


def _connect_ray(address: str) -> Any:
    try:
        import ray
    except ImportError as error:
        raise SaldiagError("--ray needs Ray: pip install 'saldiag[ray]'") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise SaldiagError(f"--ray {address}: cannot reach the cluster ({text})") from error
    return ray


def _wall_clock(deadline: float) -> float:
    """A time of ``time.monotonic`` converted to ``time.time``, which all processes share."""
    return time.time() + deadline - time.monotonic()


def open_workers(
    make: LabFactory, jobs: int = 1, ray: str | None = None, *, debug: bool = False
) -> AbstractContextManager[Workers]:
    """Workers on a Ray cluster if ``ray`` is its address, else in ``jobs`` processes.

    With ``debug``, what other processes on this machine write to stderr is shown.
    """
    if ray is not None:
        return ray_workers(make, jobs, ray)
    return process_workers(make, jobs, debug=debug) if jobs > 1 else local_worker(make)
