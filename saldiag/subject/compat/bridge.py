"""Makes the entries of the tables hold while a block lasts, and puts everything back."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
import types
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

from saldiag.core.measurement import Source
from saldiag.core.patching import patched
from saldiag.subject.compat.arguments import ARGUMENTS
from saldiag.subject.compat.entries import Argument, Call, Member, Module, Name, Rename
from saldiag.subject.compat.members import MEMBERS, WRAPPED
from saldiag.subject.compat.names import NAMES
from saldiag.subject.source.stack_frames import caller, is_user

KERAS = ("keras", "tensorflow.keras", "keras._tf_keras.keras")
"""The same modules under three names; each is a module object of its own."""

Note = Callable[[Rename, Source | None], None]


@contextmanager
def bridged(note: Note) -> Iterator[None]:
    """Let a program use what older versions had, until the block ends.

    Args:
        note: told of each entry once, and of the line that used it first.
    """
    telling = _Telling(note)
    with ExitStack() as stack:
        # One after the other: what is wrapped may stand in for something already.
        for patch in chain(_arguments(telling), _members(telling), _wrapped(telling)):
            stack.enter_context(patched(*patch))
        stack.enter_context(_modules(telling))
        yield


class _Telling:
    """Notes each entry once."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._told: set[Rename] = set()

    def __call__(self, entry: Rename) -> None:
        if entry not in self._told:
            self._told.add(entry)
            self._note(entry, caller())


def places(place: str) -> list[str]:
    """A place under all the names that a program knows it by."""
    if place.partition(".")[0] != "keras" or place.startswith("keras.src"):
        return [place]
    return [root + place.removeprefix("keras") for root in KERAS]


def resolve(dotted: str) -> Any:
    """The module, or what is in one, that a dotted name names.

    Raises:
        AttributeError: there is no such thing.
    """
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        return functools.reduce(getattr, parts[end:], found)
    raise AttributeError(dotted)


# Names and modules


@contextmanager
def _modules(telling: _Telling) -> Iterator[None]:
    """Modules that are gone, and a ``__getattr__`` for names in those that are there."""
    by_module: dict[str, dict[str, Name]] = defaultdict(dict)
    stand_ins: dict[str, types.ModuleType] = {}
    for entry in NAMES:
        for place in places(entry.place):
            by_module[place][entry.old] = entry
            full = f"{place}.{entry.old}"
            if isinstance(entry, Module) and not _exists(full):
                stand_ins[full] = _StandIn(full, entry, telling)
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        with ExitStack() as stack:
            for place, names in by_module.items():
                module = sys.modules.get(place) or _imported(place)
                if module is not None and place not in stand_ins:
                    look = _looking(module, names, telling)
                    stack.enter_context(patched(module, "__getattr__", look))
            yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def _imported(name: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _exists(name: str) -> bool:
    """Whether a module is there after all: ``tf.keras`` has kept some."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


class _StandIn(types.ModuleType):
    """A module that is gone: its names are those of the one that has them today."""

    def __init__(self, name: str, entry: Module, telling: _Telling) -> None:
        super().__init__(name, f"Stands for {entry.shown}.")
        self.__path__: list[str] = []  # it may have had modules in it
        self._entry, self._telling = entry, telling

    def __getattr__(self, name: str) -> Any:
        inner = sys.modules.get(f"{self.__name__}.{name}")
        if inner is not None:
            return inner
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(resolve(str(self._entry.to)), name)
        self._telling(self._entry)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._entry.call is None:
            raise TypeError(f"{self._entry.shown} is a module")
        self._telling(self._entry)
        return self._entry.call(*args, **kwargs)


def _looking(
    module: types.ModuleType, names: dict[str, Name], telling: _Telling
) -> Callable[[str], Any]:
    """``__getattr__`` of a module: what the user's own code asks for, and nobody else."""
    before = vars(module).get("__getattr__")

    def look(name: str) -> Any:
        entry = names.get(name)
        if entry is not None and entry.to is not None and _asked_by_user():
            if (stand_in := sys.modules.get(f"{module.__name__}.{name}")) is not None:
                return stand_in
            telling(entry)
            return entry.to() if callable(entry.to) else resolve(entry.to)
        if before is not None:
            return before(name)
        # As Python words it: what explains errors reads it.
        raise AttributeError(
            f"module {module.__name__!r} has no attribute {name!r}", name=name, obj=module
        )

    return look


def _asked_by_user() -> bool:
    """Whether the user's own code, not a library, is what looks for a name just now."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    own = frame.f_globals.get("__name__", "").startswith("saldiag.subject.compat")
    return own or is_user(frame.f_code.co_filename)


# Keywords


def _arguments(telling: _Telling) -> Iterator[tuple[Any, str, Any]]:
    """What to put where, so that older keywords are understood."""
    by_place: dict[str, list[Argument]] = defaultdict(list)
    for entry in ARGUMENTS:
        by_place[entry.inside or entry.place].append(entry)
    for place, entries in by_place.items():
        target = resolve(place)
        if isinstance(target, type):
            yield target, "__init__", _method(target.__init__, entries, telling)  # type: ignore[misc]
            continue
        for owner, name in _owners(place):
            translated = _method if isinstance(owner, type) else _function
            yield owner, name, translated(target, entries, telling)


def _owners(place: str) -> list[tuple[Any, str]]:
    """Where a function or method is looked up: a class, or a module under each of its names."""
    outer, _, name = place.rpartition(".")
    owner = resolve(outer)
    if isinstance(owner, type):
        return [(owner, name)]
    return [(resolve(one), name) for one in places(outer)]


def _method(
    original: Callable[..., Any], entries: Iterable[Argument], telling: _Telling
) -> Callable[..., Any]:
    """A method that takes older keywords as well."""

    @functools.wraps(original)
    def translated(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _translate(Call(list(args), kwargs), entries, telling)
        return original(self, *call.args, **call.kwargs)

    # Keras reads the names of a layer's arguments, and does not look for what is wrapped.
    vars(translated)["__signature__"] = inspect.signature(original)
    return translated


def _function(
    original: Callable[..., Any], entries: Iterable[Argument], telling: _Telling
) -> Callable[..., Any]:
    """A function that takes older keywords as well."""

    @functools.wraps(original)
    def translated(*args: Any, **kwargs: Any) -> Any:
        call = _translate(Call(list(args), kwargs), entries, telling)
        return original(*call.args, **call.kwargs)

    return translated


def _translate(call: Call, entries: Iterable[Argument], telling: _Telling) -> Call:
    for entry in entries:
        if entry.old not in call.kwargs:
            continue
        value = call.kwargs.pop(entry.old)
        if entry.change(call, value) is False:
            call.kwargs[entry.old] = value
        else:
            telling(entry)
    return call


# Members


def _members(telling: _Telling) -> Iterator[tuple[Any, str, Any]]:
    for entry in MEMBERS:
        owner = resolve(entry.place)
        yield owner, entry.old, (_Attribute if entry.put is None else _Settable)(entry, telling)


class _Attribute:
    """A member that is gone; one of the same name in an object or a subclass goes before it."""

    def __init__(self, entry: Member, telling: _Telling) -> None:
        self.entry, self.telling = entry, telling

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self.entry.to
        if not _asked_by_user():
            raise AttributeError(f"{kind.__name__!r} object has no attribute {self.entry.old!r}")
        self.telling(self.entry)
        return self.entry.to(owner) if self.entry.is_property else types.MethodType(
            self.entry.to, owner
        )  # fmt: skip


class _Settable(_Attribute):
    """One that can be set."""

    def __set__(self, owner: Any, value: Any) -> None:
        assert self.entry.put is not None
        self.telling(self.entry)
        self.entry.put(owner, value)


def _wrapped(telling: _Telling) -> Iterator[tuple[Any, str, Any]]:
    """Methods that are wrapped: around what stands there when it is put there."""
    for entry in WRAPPED:
        for owner, name in _owners(entry.inside):
            original = inspect.getattr_static(owner, name)
            yield owner, name, entry.around(original, functools.partial(telling, entry))
