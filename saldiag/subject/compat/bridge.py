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
from saldiag.subject.compat.arguments import ARGUMENTS
from saldiag.subject.compat.entries import (
    Call,
    MovedModule,
    MovedName,
    RemovedMember,
    Rename,
    RenamedArgument,
)
from saldiag.subject.compat.members import MEMBERS, WRAPPED
from saldiag.subject.compat.names import NAMES
from saldiag.subject.source.stack_frames import calling_source, is_user_file

KERAS_NAMES = ("keras", "tensorflow.keras", "keras._tf_keras.keras")
"""The same modules under three names; each is a module object of its own."""

OnFirstUse = Callable[[Rename, Source | None], None]
_MISSING = object()


@contextmanager
def old_apis_available(note: OnFirstUse) -> Iterator[None]:
    """Let a program use what older versions had, until the block ends.

    Args:
        note: told of each entry once, and of the line that used it first.
    """
    telling = _FirstUses(note)
    with ExitStack() as stack:
        # One after the other: what is wrapped may stand in for something already.
        for patch in chain(_arguments(telling), _members(telling), _wrapped(telling)):
            stack.enter_context(_put(*patch))
        stack.enter_context(_module_patches(telling))
        yield


class _FirstUses:
    """Notes each entry once."""

    def __init__(self, note: OnFirstUse) -> None:
        self._note = note
        self._told: set[Rename] = set()

    def __call__(self, entry: Rename) -> None:
        if entry not in self._told:
            self._told.add(entry)
            self._note(entry, calling_source())


@contextmanager
def _put(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute for the block; afterwards it is what it was, or not there."""
    before = vars(owner).get(name, _MISSING)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def module_aliases(place: str) -> list[str]:
    """A place under all the names that a program knows it by."""
    if place.partition(".")[0] != "keras" or place.startswith("keras.src"):
        return [place]
    return [root + place.removeprefix("keras") for root in KERAS_NAMES]


def resolve_dotted(dotted: str) -> Any:
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
def _module_patches(telling: _FirstUses) -> Iterator[None]:
    """Modules that are gone, and a ``__getattr__`` for names in those that are there."""
    by_module: dict[str, dict[str, MovedName]] = defaultdict(dict)
    stand_ins: dict[str, types.ModuleType] = {}
    for entry in NAMES:
        for place in module_aliases(entry.place):
            by_module[place][entry.old] = entry
            full = f"{place}.{entry.old}"
            if isinstance(entry, MovedModule) and not _module_exists(full):
                stand_ins[full] = _ModuleStandIn(full, entry, telling)
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        with ExitStack() as stack:
            for place, names in by_module.items():
                module = sys.modules.get(place) or _import_if_installed(place)
                if module is not None and place not in stand_ins:
                    look = _looking(module, names, telling)
                    stack.enter_context(_put(module, "__getattr__", look))
            yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def _import_if_installed(name: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _module_exists(name: str) -> bool:
    """Whether a module is there after all: ``tf.keras`` has kept some."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


class _ModuleStandIn(types.ModuleType):
    """A module that is gone: its names are those of the one that has them today."""

    def __init__(self, name: str, entry: MovedModule, telling: _FirstUses) -> None:
        super().__init__(name, f"Stands for {entry.shown}.")
        self.__path__: list[str] = []  # it may have had modules in it
        self._entry, self._telling = entry, telling

    def __getattr__(self, name: str) -> Any:
        inner = sys.modules.get(f"{self.__name__}.{name}")
        if inner is not None:
            return inner
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(resolve_dotted(str(self._entry.to)), name)
        self._telling(self._entry)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._entry.call is None:
            raise TypeError(f"{self._entry.shown} is a module")
        self._telling(self._entry)
        return self._entry.call(*args, **kwargs)


def _looking(
    module: types.ModuleType, names: dict[str, MovedName], telling: _FirstUses
) -> Callable[[str], Any]:
    """``__getattr__`` of a module: what the user's own code asks for, and nobody else."""
    before = vars(module).get("__getattr__")

    def look(name: str) -> Any:
        entry = names.get(name)
        if entry is not None and entry.to is not None and _is_user_lookup():
            if (stand_in := sys.modules.get(f"{module.__name__}.{name}")) is not None:
                return stand_in
            telling(entry)
            return entry.to() if callable(entry.to) else resolve_dotted(entry.to)
        if before is not None:
            return before(name)
        # As Python words it: what explains errors reads it.
        raise AttributeError(
            f"module {module.__name__!r} has no attribute {name!r}", name=name, obj=module
        )

    return look


def _is_user_lookup() -> bool:
    """Whether the user's own code, not a library, is what looks for a name just now."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    own = frame.f_globals.get("__name__", "").startswith("saldiag.subject.compat")
    return own or is_user_file(frame.f_code.co_filename)


# Keywords


def _arguments(telling: _FirstUses) -> Iterator[tuple[Any, str, Any]]:
    """What to put where, so that older keywords are understood."""
    by_place: dict[str, list[RenamedArgument]] = defaultdict(list)
    for entry in ARGUMENTS:
        by_place[entry.inside or entry.place].append(entry)
    for place, entries in by_place.items():
        target = resolve_dotted(place)
        if isinstance(target, type):
            yield target, "__init__", _translating_method(target.__init__, entries, telling)  # type: ignore[misc]
            continue
        for owner, name in _lookup_owners(place):
            translated = _translating_method if isinstance(owner, type) else _translating_function
            yield owner, name, translated(target, entries, telling)


def _lookup_owners(place: str) -> list[tuple[Any, str]]:
    """Where a function or method is looked up: a class, or a module under each of its names."""
    outer, _, name = place.rpartition(".")
    owner = resolve_dotted(outer)
    if isinstance(owner, type):
        return [(owner, name)]
    return [(resolve_dotted(one), name) for one in module_aliases(outer)]


def _translating_method(
    original: Callable[..., Any], entries: Iterable[RenamedArgument], telling: _FirstUses
) -> Callable[..., Any]:
    """A method that takes older keywords as well."""

    @functools.wraps(original)
    def translated(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _translate_call(Call(list(args), kwargs), entries, telling)
        return original(self, *call.args, **call.kwargs)

    # Keras reads the names of a layer's arguments, and does not look for what is wrapped.
    vars(translated)["__signature__"] = inspect.signature(original)
    return translated


def _translating_function(
    original: Callable[..., Any], entries: Iterable[RenamedArgument], telling: _FirstUses
) -> Callable[..., Any]:
    """A function that takes older keywords as well."""

    @functools.wraps(original)
    def translated(*args: Any, **kwargs: Any) -> Any:
        call = _translate_call(Call(list(args), kwargs), entries, telling)
        return original(*call.args, **call.kwargs)

    return translated


def _translate_call(call: Call, entries: Iterable[RenamedArgument], telling: _FirstUses) -> Call:
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


def _members(telling: _FirstUses) -> Iterator[tuple[Any, str, Any]]:
    for entry in MEMBERS:
        owner = resolve_dotted(entry.place)
        yield (
            owner,
            entry.old,
            (_MemberAttribute if entry.put is None else _SettableMember)(entry, telling),
        )


class _MemberAttribute:
    """A member that is gone; one of the same name in an object or a subclass goes before it."""

    def __init__(self, entry: RemovedMember, telling: _FirstUses) -> None:
        self.entry, self.telling = entry, telling

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self.entry.to
        if not _is_user_lookup():
            raise AttributeError(f"{kind.__name__!r} object has no attribute {self.entry.old!r}")
        self.telling(self.entry)
        return self.entry.to(owner) if self.entry.is_property else types.MethodType(
            self.entry.to, owner
        )  # fmt: skip


class _SettableMember(_MemberAttribute):
    """One that can be set."""

    def __set__(self, owner: Any, value: Any) -> None:
        assert self.entry.put is not None
        self.telling(self.entry)
        self.entry.put(owner, value)


def _wrapped(telling: _FirstUses) -> Iterator[tuple[Any, str, Any]]:
    """Methods that are wrapped: around what stands there when it is put there."""
    for entry in WRAPPED:
        for owner, name in _lookup_owners(entry.inside):
            original = inspect.getattr_static(owner, name)
            yield owner, name, entry.around(original, functools.partial(telling, entry))
