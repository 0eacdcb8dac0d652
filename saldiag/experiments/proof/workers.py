"""Who does the jobs: this process, other ones, or other machines."""

from __future__ import annotations

import time
from collections.abc import Sequence

from saldiag.experiments.proof.conduct import Results
from saldiag.experiments.proof.lab import Lab
from saldiag.experiments.proof.plan import Job


class Here:
    """One job after the other in this process, in a lab that is open."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def __call__(self, jobs: Sequence[Job], deadline: float) -> Results:
        """Do them; the one that runs at the deadline is cut short."""
        self._lab.deadline = deadline
        for job in jobs:
            if time.monotonic() > deadline:
                return
            yield job, self._lab.arm(job.names, job.seeds, job.steps)
