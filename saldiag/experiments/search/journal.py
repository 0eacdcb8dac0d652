"""Results of finished jobs on disk, with which experiments resume after a kill."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from saldiag.core.errors import RunError
from saldiag.core.files.jsonio import jsonable, read_json, restore, write_json
from saldiag.core.measurement import Arm
from saldiag.experiments.search.plan import Job


class Journal:
    """Stores one JSON file per job in ``folder``, written atomically; None keeps all in memory."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known_arms: dict[Job, Arm] = {}

    def read_arm(self, job: Job) -> Arm | None:
        """The job's stored result; None if there is none.

        Raises:
            RunError: its file cannot be read.
        """
        if job in self._known_arms or self._folder is None:
            return self._known_arms.get(job)
        path = self._file_path(job)
        if not path.is_file():
            return None
        try:
            found: Any = restore(Arm, read_json(path)["arm"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path}: cannot be read ({error}): delete it to repeat the training"
            ) from error
        return found if isinstance(found, Arm) else None

    def write_arm(self, job: Job, arm: Arm) -> None:
        """Store the result of a job.

        Raises:
            RunError: its file cannot be written.
        """
        self._known_arms[job] = arm
        if self._folder is None:
            return
        path = self._file_path(job)
        try:
            write_json(path, {"job": jsonable(job), "arm": jsonable(arm)})
        except OSError as error:
            raise RunError(f"{path}: cannot be written ({error.strerror or error})") from error

    def _file_path(self, job: Job) -> Path:
        assert self._folder is not None
        names = "+".join(job.names) or "control"
        key = hashlib.sha256(repr(job).encode()).hexdigest()[:12]
        return self._folder / f"{names[:60]}-{job.steps}-{key}.json"
