"""What an intervention is: one hypothesis, and the one change that would prove it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from functools import cache
from typing import ClassVar

from saldiag.core.errors import SaldiagError
from saldiag.core.measurement.experiments import Mode
from saldiag.core.suggest import suggestion
from saldiag.experiments.interventions.change import Change
from saldiag.experiments.interventions.workbench import Workbench


class NotApplicable(Exception):  # noqa: N818 - a normal outcome
    """The intervention has nothing to change in this model; the message is the reason."""


class Intervention(ABC):
    """One file each, found by its place. The class' docstring says what is done, and by whom.

    ``states`` is the hypothesis as a sentence that the experiment can refute. ``answers`` are the
    rules whose finding it would prove. ``words`` are what a user who suspects it would say.
    ``mode`` is the one in which learning has to be restored. ``if_restored`` says what it means if
    learning comes back, of an experiment that repairs nothing; empty of a repair.
    """

    name: ClassVar[str]
    states: ClassVar[str]
    answers: ClassVar[tuple[str, ...]] = ()
    words: ClassVar[tuple[str, ...]] = ()
    mode: ClassVar[Mode] = "training"
    if_restored: ClassVar[str] = ""

    @abstractmethod
    def change(self, lab: Workbench) -> Change:
        """What to change in the lab's model.

        Raises:
            NotApplicable: there is nothing to change, with the reason.
        """


@cache
def all_interventions() -> dict[str, type[Intervention]]:
    """Every intervention by its name, in the order of their names.

    Raises:
        RuntimeError: two share a name.
    """
    package = importlib.import_module("saldiag.experiments.interventions.library")
    found: dict[str, type[Intervention]] = {}
    for module in pkgutil.iter_modules(package.__path__):
        for kind in _in_module(f"{package.__name__}.{module.name}"):
            if kind.name in found:
                raise RuntimeError(f"two interventions are called {kind.name}")
            found[kind.name] = kind
    return dict(sorted(found.items()))


def _in_module(name: str) -> list[type[Intervention]]:
    module = importlib.import_module(name)
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Intervention)
        and value.__module__ == name
        and not inspect.isabstract(value)
    ]


def intervention(name: str) -> type[Intervention]:
    """The intervention of that name.

    Raises:
        SaldiagError: there is none; the message suggests the nearest.
    """
    known = all_interventions()
    if name not in known:
        raise SaldiagError(f"no experiment is called {name!r}: {suggestion(name, list(known))}")
    return known[name]
