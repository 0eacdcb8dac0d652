"""The base class of interventions: one hypothesis, and the one change that can confirm it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from functools import cache
from typing import ClassVar

from saldiag.core.entry_points import registered_classes
from saldiag.core.errors import SaldiagError
from saldiag.core.measurement.experiments import Mode
from saldiag.core.suggest import suggestion
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.workbench import Workbench


class NotApplicable(Exception):  # noqa: N818 - a normal outcome
    """The intervention has nothing to change in this model; the message is the reason."""


class Intervention(ABC):
    """One class per file of ``library/``, registered by its location.

    The class' docstring says what the intervention does and cites its source.
    """

    name: ClassVar[str]
    """Name on the command line and in JSON, such as ``higher-rate``."""
    states: ClassVar[str]
    """The hypothesis: a clause without a full stop that the experiment can refute."""
    answers: ClassVar[tuple[str, ...]] = ()
    """Codes of the rules whose finding this experiment can confirm."""
    words: ClassVar[tuple[str, ...]] = ()
    """Lower-case words, or beginnings of words, that select it by ``--suspect``."""
    mode: ClassVar[Mode] = "training"
    """The mode in which learning has to be restored."""
    if_restored: ClassVar[str] = ""
    """What restored learning means for an experiment that is no fix; empty for a fix."""

    @abstractmethod
    def change(self, lab: Workbench) -> Change:
        """Return the change to make to the lab's model.

        Raises:
            NotApplicable: there is nothing to change, with the reason.
        """


GROUP = "saldiag.interventions"
"""Entry-point group in which another package registers an intervention, as ``module:CLASS``."""


@cache
def all_interventions() -> dict[str, type[Intervention]]:
    """Every intervention of ``library/`` and of other packages by name, sorted by name.

    Raises:
        RuntimeError: two interventions have the same name, or an entry point is not one.
    """
    package = importlib.import_module("saldiag.experiments.interventions.library")
    modules = [f"{package.__name__}.{file.name}" for file in pkgutil.iter_modules(package.__path__)]
    found: dict[str, type[Intervention]] = {}
    for intervention in (
        *(one for module in modules for one in _interventions_in(module)),
        *registered_classes(GROUP, Intervention),  # type: ignore[type-abstract]
    ):
        if intervention.name in found:
            raise RuntimeError(f"two interventions have the name {intervention.name!r}")
        found[intervention.name] = intervention
    return dict(sorted(found.items()))


def _interventions_in(module_name: str) -> list[type[Intervention]]:
    """The concrete interventions that a module defines; those that it imports are left out."""
    module = importlib.import_module(module_name)
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Intervention)
        and value.__module__ == module_name
        and not inspect.isabstract(value)
    ]


def intervention_named(name: str) -> type[Intervention]:
    """The intervention with this name.

    Raises:
        SaldiagError: there is none; the message suggests the closest name.
    """
    known = all_interventions()
    if name not in known:
        raise SaldiagError(f"unknown experiment {name!r}: {suggestion(name, list(known))}")
    return known[name]
