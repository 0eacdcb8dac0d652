"""A run directory: ``run.json``, ``measurements/``, ``diagnosis.json`` and what renderers add.

Layout: ``measurements/KEY.json`` holds a measurement without its arrays, ``measurements/KEY.npz``
the arrays. Everything is written whole or not at all, so a killed run leaves its last good state.
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from saldiag.core.errors import RunError
from saldiag.core.field_types import UtcTime
from saldiag.core.files.jsonio import atomic_file, read_json, restore, write_json
from saldiag.core.findings.diagnosis import SCHEMA_VERSION, Diagnosis, SchemaVersion
from saldiag.core.measurement import TYPES, Measurement, Measurements, SourceFiles, arrays_of

Status = Literal["running", "finished", "interrupted", "failed"]
DEFAULT_ROOT = "saldiag-runs"
RESUMABLE = ("train", "prove")
"""The commands whose runs can be resumed."""


@dataclass(frozen=True)
class RunInfo:
    """``run.json``: how the run was made."""

    command: tuple[str, ...]
    """The command line, word by word."""
    versions: dict[str, str]
    """Versions of Python and of the packages that matter to a result, by name."""
    seed: int
    """The global seed."""
    config: dict[str, Any]
    """The options in effect, by name."""
    status: Status = "running"
    """How far the run got; ``running`` also if the process was killed."""
    started: UtcTime = ""
    """Time of the start in UTC (``2024-05-01T12:00:00Z``); empty if unknown."""
    notes: tuple[str, ...] = ()
    """Remarks for the user, one line each."""
    missing: dict[str, str] = field(default_factory=dict)
    """Reason, in one line, for each missing measurement by key."""
    schema_version: SchemaVersion = SCHEMA_VERSION
    """Version of the format."""

    def made_by(self) -> str:
        """The name of the command (``overfit``); empty if unknown."""
        words = self.command[1:] if self.command[:1] == ("saldiag",) else self.command
        return next((word for word in words if not word.startswith("-")), "")


class Run:
    """A run directory on disk. A child process that forks off changes nothing in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process = os.getpid()

    @property
    def is_in_forked_child(self) -> bool:
        """Whether this process was forked after the run was opened."""
        return os.getpid() != self._process

    @classmethod
    def create(cls, command: str, out: Path | None = None, resume: bool = False) -> Run:
        """Make a new run directory.

        Args:
            command: the command's name, part of the default directory's name.
            out: the directory to use; default ``saldiag-runs/<UTC time>-<command>-<n>``.
            resume: allow ``out`` to hold a run already.

        Raises:
            RunError: ``out`` holds a run, is a file, or cannot be written; with ``resume``, it
                holds no run of ``command``.
        """
        if out is None:
            return cls(_fresh_directory(Path(DEFAULT_ROOT), command))
        if resume:
            return cls._of(command, out)
        if (out / "run.json").exists():
            way_out = ", or --resume to continue it" if command in RESUMABLE else ""
            raise RunError(f"{out} holds a run already: choose another --out{way_out}")
        _make(out)
        return cls(out)

    @classmethod
    def _of(cls, command: str, path: Path) -> Run:
        """The run at ``path``, if it is one of ``command``."""
        run = cls.open(path)
        made_by = run.read_info().made_by()
        if made_by != command:
            raise RunError(f"{path} is a run of saldiag {made_by}, not of saldiag {command}")
        return run

    def discard(self) -> None:
        """Delete a run without measurements, and its directory if it is empty."""
        if self.is_in_forked_child:
            return
        sources = self.measurements_path / f"{SourceFiles.key}.json"  # no measurement of a model
        if any(path != sources for path in self.measurements_path.glob("*")):
            return
        for path in (sources, self.path / "run.json"):
            path.unlink(missing_ok=True)
        for folder in (self.measurements_path, self.path):
            with suppress(OSError):  # something else is in it, or it is not there
                folder.rmdir()

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open an existing run.

        Raises:
            RunError: there is no run at ``path``.
        """
        if not path.exists():
            raise RunError(f"{path}: no such run directory")
        if not (path / "run.json").is_file():
            raise RunError(f"{path}: not a run directory (it has no run.json)")
        return cls(path)

    @property
    def diagnosis_path(self) -> Path:
        """Path of the diagnosis, which may not exist yet."""
        return self.path / "diagnosis.json"

    @property
    def measurements_path(self) -> Path:
        """Path of the measurements."""
        return self.path / "measurements"

    def write_info(self, info: RunInfo) -> None:
        """Write ``run.json``."""
        self._write(self.path / "run.json", info)

    def read_info(self) -> RunInfo:
        """Read ``run.json``."""
        info = self._read(self.path / "run.json", RunInfo)
        assert isinstance(info, RunInfo)
        return info

    def write_measurement(self, measurement: Measurement) -> None:
        """Write one measurement: first the arrays, then the JSON that refers to them."""
        if self.is_in_forked_child:
            return
        arrays = arrays_of(measurement)
        try:
            if arrays:
                with atomic_file(self.measurements_path / f"{measurement.key}.npz", "wb") as stream:
                    np.savez_compressed(stream, allow_pickle=False, **arrays)
        except OSError as error:
            raise _unwritable(self.measurements_path, error) from error
        plain = {
            f.name: getattr(measurement, f.name)
            for f in dataclasses.fields(measurement)
            if f.name not in arrays
        }
        self._write(
            self.measurements_path / f"{measurement.key}.json",
            {"schema_version": SCHEMA_VERSION, **plain},
        )

    def read_measurements(self, *kinds: type[Measurement]) -> Measurements:
        """Read the measurements of the run, with the reasons of the missing ones.

        Args:
            kinds: those to read; default: all.

        Raises:
            RunError: one cannot be read.
        """
        found = {
            kind.key: self._read_measurement(kind.key, kind)
            for kind in kinds or TYPES.values()
            if (self.measurements_path / f"{kind.key}.json").is_file()
        }
        return Measurements(found, self.read_info().missing)

    def _read_measurement(self, key: str, kind: type[Measurement]) -> Measurement:
        path = self.measurements_path / f"{key}.json"
        try:
            value = _of_today(path, read_json(path))
            value.pop("schema_version", None)
            arrays = path.with_suffix(".npz")
            if arrays.is_file():
                # numpy leaves a file open that it opened itself and that is no whole archive
                with arrays.open("rb") as stream, np.load(stream, allow_pickle=False) as loaded:
                    value.update({name: loaded[name] for name in loaded.files})
            result = restore(kind, value)
        except zipfile.BadZipFile as error:
            raise RunError(f"{path.with_suffix('.npz')}: cannot be read ({error})") from error
        except (OSError, ValueError, AttributeError) as error:
            raise RunError(f"{path}: cannot be read ({error})") from error
        assert isinstance(result, Measurement)
        return result

    def write_diagnosis(self, diagnosis: Diagnosis) -> None:
        """Write ``diagnosis.json``."""
        self._write(self.diagnosis_path, diagnosis)

    def read_diagnosis(self) -> Diagnosis:
        """Read ``diagnosis.json``."""
        diagnosis = self._read(self.diagnosis_path, Diagnosis)
        assert isinstance(diagnosis, Diagnosis)
        return diagnosis

    def _write(self, path: Path, value: Any) -> None:
        if self.is_in_forked_child:
            return
        try:
            write_json(path, value)
        except OSError as error:
            raise _unwritable(path, error) from error

    def _read(self, path: Path, kind: type[Any]) -> Any:
        try:
            return restore(kind, _of_today(path, read_json(path)))
        except FileNotFoundError as error:
            raise RunError(f"{path}: does not exist (was the run interrupted?)") from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise RunError(f"{path}: cannot be read ({error})") from error


def utc_now() -> str:
    """The current time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _of_today(path: Path, value: Any) -> Any:
    """The content of a file, unless a newer saldiag wrote it."""
    version = value.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RunError(
            f"{path}: written by a newer saldiag (schema_version {version}, this one reads"
            f" {SCHEMA_VERSION}): update saldiag"
        )
    return value


def _fresh_directory(root: Path, command: str) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for number in range(1, 10_000):
        path = root / f"{stamp}-{command}-{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not path.is_dir():
                raise RunError(f"{root}: is a file, not a directory for runs") from None
            continue
        except OSError as error:
            raise _unwritable(path, error) from error
        return path
    raise RunError(f"{root}: no free name for a run directory")


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> RunError:
    reason = error.strerror or str(error)
    return RunError(f"{path}: cannot be written ({reason}): choose another --out")
