"""Finished jobs on disk, so that experiments can be gone on with after a kill."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from saldiag.core.errors import RunError
from saldiag.core.files.jsonio import jsonable, read_json, restore, write_json
from saldiag.core.measurement import Arm
from saldiag.experiments.search.plan import Job


class Journal:
    """One file a job in ``folder``, each written whole or not at all; in memory without one."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[Job, Arm] = {}

    def get(self, job: Job) -> Arm | None:
        """What came of the job, if it was done before.

        Raises:
            RunError: its file cannot be read.
        """
        if job in self._known or self._folder is None:
            return self._known.get(job)
        path = self._path(job)
        if not path.is_file():
            return None
        try:
            found: Any = restore(Arm, read_json(path)["arm"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: cannot be read ({error}): remove it to do it again") from error
        return found if isinstance(found, Arm) else None

    def put(self, job: Job, arm: Arm) -> None:
        """Keep what came of a job."""
        self._known[job] = arm
        if self._folder is None:
            return
        path = self._path(job)
        try:
            write_json(path, {"job": jsonable(job), "arm": jsonable(arm)})
        except OSError as error:
            raise RunError(f"{path}: cannot be written ({error.strerror or error})") from error

    def _path(self, job: Job) -> Path:
        assert self._folder is not None
        told = "+".join(job.names) or "control"
        key = hashlib.sha256(repr(job).encode()).hexdigest()[:12]
        return self._folder / f"{told[:60]}-{job.steps}-{key}.json"
