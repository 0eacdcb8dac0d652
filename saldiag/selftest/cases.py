"""The programs of the matrix: each fault and its twin in each form, and the healthy programs."""

from __future__ import annotations

import importlib
import pkgutil
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from saldiag.core.errors import SaldiagError
from saldiag.core.suggest import suggestion

TUNING_SEED, REPORTED_SEED = 0, 3
"""Seeds: thresholds are tuned on the first, results are reported for the second."""

Variant = Literal["broken", "fixed", "healthy"]


@dataclass(frozen=True)
class Case:
    """One program to run."""

    group: str
    """Name of its file, without the suffix."""
    variant: Variant
    """``broken`` has the fault, ``fixed`` is its twin."""
    form: str
    """Kind of model, such as ``functional``; for a healthy program its function's name."""
    seed: int
    """Seed of data and weights."""

    @property
    def name(self) -> str:
        """``GROUP/FORM/VARIANT``, unique for a seed."""
        return f"{self.group}/{self.form}/{self.variant}"

    @property
    def module(self) -> Any:
        """The module that contains the program."""
        folder = "healthy" if self.variant == "healthy" else "faults"
        return importlib.import_module(f"{__package__}.{folder}.{self.group}")

    @property
    def expected(self) -> tuple[str, ...]:
        """Codes of the rules that may name the seeded fault; empty for a healthy program."""
        codes = getattr(self.module, "EXPECT", ())
        return (codes,) if isinstance(codes, str) else tuple(codes)

    def build_program(self) -> Any:
        """Build the program; returns a ``Program``."""
        if self.variant == "healthy":
            builders = {program.__name__: program for program in self.module.PROGRAMS}
            return builders[self.form](self.seed)
        return getattr(self.module, self.variant)(self.form, self.seed)


def matrix_cases(seed: int = REPORTED_SEED, parts: Sequence[str] = ()) -> list[Case]:
    """All cases with that seed, or those whose names contain one of ``parts``.

    Raises:
        SaldiagError: no name contains one of them.
    """
    every_case = [*_fault_cases(seed), *_healthy_cases(seed)]
    for part in parts:
        if not any(part in case.name for case in every_case):
            names = sorted({word for case in every_case for word in re.split("[/_]", case.name)})
            hint = suggestion(part, names)
            raise SaldiagError(f"no program of the matrix has {part!r} in its name: {hint}")
    return [case for case in every_case if not parts or any(part in case.name for part in parts)]


SAMPLE_OF = 8
"""One program in this many is in a sample."""


def sample_cases(cases: Sequence[Case], key: str) -> list[Case]:
    """About one case in ``SAMPLE_OF``, chosen by the hash of ``key`` and the case's name.

    Another key, such as the id of another commit, chooses other cases.
    """
    return [case for case in cases if zlib.crc32(f"{key}/{case.name}".encode()) % SAMPLE_OF == 0]


def _fault_cases(seed: int) -> Iterable[Case]:
    """Each form broken and fixed; a module's ``TWINS`` names the forms whose fixed twins differ."""
    for group, module in _program_modules("faults"):
        for form in module.FORMS:
            yield Case(group, "broken", form, seed)
            if form in getattr(module, "TWINS", module.FORMS):
                yield Case(group, "fixed", form, seed)


def _healthy_cases(seed: int) -> Iterable[Case]:
    for group, module in _program_modules("healthy"):
        for program in module.PROGRAMS:
            yield Case(group, "healthy", program.__name__, seed)


def _program_modules(folder: str) -> list[tuple[str, Any]]:
    package = importlib.import_module(f"{__package__}.{folder}")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [(name, importlib.import_module(f"{package.__name__}.{name}")) for name in names]
