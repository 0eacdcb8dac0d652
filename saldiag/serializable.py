"""Lets ``keras.models.load_model`` find saldiag's classes after ``import saldiag`` alone.

Keras looks a class up by its registered name (``saldiag>InceptionBlock``), which only exists once
the module with the class is imported. Importing those modules from ``saldiag/__init__`` would load
TensorFlow for ``saldiag --help``. Instead ``register`` adds a fallback to Keras' lookup: a name of
saldiag's that Keras doesn't know imports the modules that register classes, once. Every other name
is looked up as before. It works whether Keras is imported before or after saldiag, and doesn't
import Keras.

Keras 3.13 to 3.15 ask ``object_registration.get_registered_object``, in safe mode too.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from saldiag.keras_internals.names import LOOKUP_FUNCTION, LOOKUP_MODULE

PACKAGE = "saldiag"
_REGISTERS = re.compile(
    r'^@keras\.saving\.register_keras_serializable\(package="saldiag"', re.MULTILINE
)


def register() -> None:
    """Add the fallback to Keras' lookup now, or when Keras gets imported."""
    loaded = sys.modules.get(LOOKUP_MODULE)
    if loaded is not None and hasattr(loaded, LOOKUP_FUNCTION):
        _add_fallback(loaded)
    else:
        sys.meta_path.insert(0, _AfterImport())


def registering_modules() -> tuple[str, ...]:
    """Names of saldiag's modules that register a class with Keras, found in their source.

    Importing all modules instead would run those that change Keras' warnings.
    """
    root = Path(__file__).parent
    files = sorted(path for path in root.rglob("*.py") if _REGISTERS.search(_text(path)))
    return tuple(".".join((PACKAGE, *f.relative_to(root).with_suffix("").parts)) for f in files)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


class _AfterImport:
    """A finder that adds the fallback right after Keras' lookup module has run, then leaves."""

    def __init__(self) -> None:
        self._searching = False

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        """The module's ordinary spec, whose loader also adds the fallback; None for all others."""
        if name != LOOKUP_MODULE or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            self._extend(spec.loader)
        return spec

    def _extend(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if module.__name__ == LOOKUP_MODULE:
                loader.exec_module = execute
                _add_fallback(module)
                if self in sys.meta_path:
                    sys.meta_path.remove(self)

        loader.exec_module = exec_module


def _add_fallback(lookup_module: Any) -> None:
    lookup = getattr(lookup_module, LOOKUP_FUNCTION, None)
    if lookup is None or hasattr(lookup, "saldiag_modules"):  # another Keras, or a second import
        return

    @functools.cache
    def import_modules() -> None:
        for name in registering_modules():
            importlib.import_module(name)

    @functools.wraps(lookup)
    def with_fallback(name: Any, *args: Any, **kwargs: Any) -> Any:
        found = lookup(name, *args, **kwargs)
        if found is None and isinstance(name, str) and name.startswith(f"{PACKAGE}>"):
            import_modules()
            found = lookup(name, *args, **kwargs)
        return found

    with_fallback.saldiag_modules = import_modules  # type: ignore[attr-defined]
    setattr(lookup_module, LOOKUP_FUNCTION, with_fallback)
