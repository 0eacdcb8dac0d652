"""Which backend Keras would run on, and running a program on TensorFlow instead.

saldiag measures Keras on TensorFlow. Nothing of Keras, JAX or PyTorch is imported here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from saldiag.core.errors import SaldiagError
from saldiag.subject.models.spec import CodeReference
from saldiag.subject.program.source_backends import (
    BACKEND_VARIABLE,
    BackendSetting,
    local_files,
    own_folders,
    read_backends,
)

TENSORFLOW = "tensorflow"


def configured_backend() -> BackendSetting:
    """The backend that Keras would use in this process, by its variable and its file."""
    chosen = os.environ.get(BACKEND_VARIABLE)
    if chosen:
        return BackendSetting(chosen, BACKEND_VARIABLE)
    return _backend_of_file() or BackendSetting(TENSORFLOW, "Keras")


def _backend_of_file() -> BackendSetting | None:
    """The backend in ``keras.json``, which Keras looks for in the same folders."""
    folder = os.environ.get("KERAS_HOME")
    if folder is None:
        home = Path.home()
        folder = str((home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras")  # noqa: S108
    path = Path(folder).expanduser() / "keras.json"
    try:
        name = json.loads(path.read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
    return BackendSetting(name, str(path)) if isinstance(name, str) else None


def require_tensorflow() -> None:
    """Check that Keras runs on TensorFlow in this process, or would if it were imported now.

    Raises:
        SaldiagError: it runs on another backend.
    """
    keras = sys.modules.get("keras")
    running = keras.backend.backend() if keras and hasattr(keras, "backend") else None
    setting = configured_backend()
    name = running or setting.name
    if name == TENSORFLOW:
        return
    by = f" ({setting.where} sets it)" if setting.name == name else ""
    raise SaldiagError(
        f'saldiag measures Keras on TensorFlow only, and the backend is "{name}"{by}: set'
        f" {BACKEND_VARIABLE}=tensorflow before Keras is imported"
    )


def select_tensorflow() -> None:
    """Make Keras use TensorFlow in this process and its children, whatever is configured.

    Raises:
        SaldiagError: Keras is already imported, and runs on another backend.
    """
    if configured_backend().name != TENSORFLOW:
        os.environ[BACKEND_VARIABLE] = TENSORFLOW
    require_tensorflow()


def tensorflow_instead(subject: str, sources: Collection[Path], *, keep: bool) -> str | None:
    """The line that says that TensorFlow takes the place of another backend; None if it does not.

    Args:
        subject: what runs, such as ``the program``.
        sources: its scripts, modules and notebooks; the local modules that they import count too.
        keep: whether another backend is refused.

    Raises:
        SaldiagError: another backend is set, and ``keep`` is true or the sources use JAX or
            PyTorch themselves.
    """
    configured = configured_backend()
    if configured.name == TENSORFLOW and not any(map(_mentions_backend, sources)):
        return None
    found = read_backends(sources, own_folders())
    setting = found.effective(configured)
    if setting.name == TENSORFLOW:
        return None
    is_set = f'{setting.where} sets the backend "{setting.name}"'
    if found.foreign is not None:
        where = "" if setting.where == BACKEND_VARIABLE else " there"
        raise SaldiagError(
            f"{found.foreign}, and {is_set}: saldiag runs Keras on TensorFlow only. If {subject}"
            f" works on TensorFlow too, set {BACKEND_VARIABLE}=tensorflow{where}"
        )
    if keep:
        raise SaldiagError(
            f"{is_set}, and saldiag runs Keras on TensorFlow only: without --backend keep,"
            f" {subject} runs on TensorFlow"
        )
    return (
        f"{is_set}; {subject} imports neither jax nor torch, so it runs on TensorFlow"
        " (--backend keep refuses instead)"
    )


def code_files(references: Iterable[CodeReference]) -> list[Path]:
    """The files of the referenced code that are local; nothing is imported."""
    folders = [str(Path.cwd()), *own_folders()]
    return [
        path
        for code in references
        for path in ([code.file] if code.file else local_files(code.location, folders))
    ]


def _mentions_backend(path: Path) -> bool:
    """Whether a file might set a backend; reading all modules of a program takes longer."""
    try:
        return BACKEND_VARIABLE.encode() in path.read_bytes()
    except OSError:
        return False
