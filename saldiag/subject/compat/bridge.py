"""Emulates the tables' old APIs while a block runs, and restores everything afterwards."""

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
"""The names of Keras' package; a submodule is a different module object under each."""

OnFirstUse = Callable[[Rename, Source | None], None]
"""Called with an entry that the program uses, and the line that uses it."""


@contextmanager
def old_apis_available(on_first_use: OnFirstUse) -> Iterator[None]:
    """Let a program use the APIs of older versions until the block ends.

    Args:
        on_first_use: called once for each entry that is used.
    """
    first_uses = _FirstUses(on_first_use)
    with ExitStack() as stack:
        # The generators read the original method when a patch is due, not before: a method may
        # have an argument translated and be wrapped, and the wrapper needs the translated one.
        for patch in chain(
            _argument_patches(first_uses), _member_patches(first_uses), _method_patches(first_uses)
        ):
            stack.enter_context(patched(*patch))
        stack.enter_context(_module_patches(first_uses))
        yield


class _FirstUses:
    """Reports each entry once."""

    def __init__(self, on_first_use: OnFirstUse) -> None:
        self._on_first_use = on_first_use
        self._used: set[Rename] = set()

    def __call__(self, entry: Rename) -> None:
        if entry not in self._used:
            self._used.add(entry)
            self._on_first_use(entry, calling_source())


def module_aliases(dotted: str) -> list[str]:
    """A dotted name under each of the names that a program can use for Keras' package."""
    if dotted.partition(".")[0] != "keras" or dotted.startswith("keras.src"):
        return [dotted]
    return [root + dotted.removeprefix("keras") for root in KERAS_NAMES]


def resolve_dotted(dotted: str) -> Any:
    """The module, or the attribute of one, with a dotted name.

    Raises:
        AttributeError: there is none.
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
def _module_patches(first_uses: _FirstUses) -> Iterator[None]:
    """Install stand-ins for removed modules, and a ``__getattr__`` on modules that lost names.

    Each name of Keras' package has its own module objects, so every patch is made under all of
    them.
    """
    by_module: dict[str, dict[str, MovedName]] = defaultdict(dict)
    stand_ins: dict[str, types.ModuleType] = {}
    for entry in NAMES:
        for owner in module_aliases(entry.owner):
            by_module[owner][entry.old_name] = entry
            dotted = f"{owner}.{entry.old_name}"
            if isinstance(entry, MovedModule) and not _module_exists(dotted):
                stand_ins[dotted] = _ModuleStandIn(dotted, entry, first_uses)
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        with ExitStack() as stack:
            for owner, names in by_module.items():
                module = sys.modules.get(owner) or _import_if_installed(owner)
                if module is not None and owner not in stand_ins:
                    getattr_ = _module_getattr(module, names, first_uses)
                    stack.enter_context(patched(module, "__getattr__", getattr_))
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
    """Whether the module still exists under this name: ``tf.keras`` has kept some."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


class _ModuleStandIn(types.ModuleType):
    """Stands in for a removed module; its names come from the module that has them today."""

    def __init__(self, name: str, entry: MovedModule, first_uses: _FirstUses) -> None:
        super().__init__(name, f"Stands in for {entry.display_name}.")
        self.__path__: list[str] = []  # marks a package: ``import keras.engine.topology`` needs one
        self._entry, self._first_uses = entry, first_uses

    def __getattr__(self, name: str) -> Any:
        inner = sys.modules.get(f"{self.__name__}.{name}")
        if inner is not None:
            return inner
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(resolve_dotted(str(self._entry.target)), name)
        self._first_uses(self._entry)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._entry.call is None:
            raise TypeError(f"{self._entry.display_name} is a module")
        self._first_uses(self._entry)
        return self._entry.call(*args, **kwargs)


def _module_getattr(
    module: types.ModuleType, names: dict[str, MovedName], first_uses: _FirstUses
) -> Callable[[str], Any]:
    """A ``__getattr__`` for ``module`` that resolves ``names`` in the user's code only.

    Libraries test for names of older versions (``hasattr(numpy, "float")``) and must find none.
    """
    before = vars(module).get("__getattr__")

    def resolve_name(name: str) -> Any:
        entry = names.get(name)
        if entry is not None and entry.target is not None and _is_user_lookup():
            if (stand_in := sys.modules.get(f"{module.__name__}.{name}")) is not None:
                return stand_in
            first_uses(entry)
            return entry.target() if callable(entry.target) else resolve_dotted(entry.target)
        if before is not None:
            return before(name)
        # Python's own wording: ``recognise`` parses it.
        raise AttributeError(
            f"module {module.__name__!r} has no attribute {name!r}", name=name, obj=module
        )

    return resolve_name


def _is_user_lookup() -> bool:
    """Whether the user's code, not a library, looks up a name.

    Frame 0 is this function, 1 the patched ``__getattr__`` or ``__get__``, 2 the code that looks.
    """
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    in_bridge = frame.f_globals.get("__name__", "").startswith("saldiag.subject.compat")
    return in_bridge or is_user_file(frame.f_code.co_filename)


# Keywords


def _argument_patches(first_uses: _FirstUses) -> Iterator[tuple[Any, str, Any]]:
    """Patches, as (owner, attribute, value), that translate old keyword arguments."""
    by_target: dict[str, list[RenamedArgument]] = defaultdict(list)
    for entry in ARGUMENTS:
        by_target[entry.taken_by or entry.owner].append(entry)
    for dotted, entries in by_target.items():
        target = resolve_dotted(dotted)
        if isinstance(target, type):
            init = target.__init__  # type: ignore[misc]
            yield target, "__init__", _translating_method(init, entries, first_uses)
            continue
        for owner, name in _lookup_owners(dotted):
            translating = _translating_method if isinstance(owner, type) else _translating_function
            yield owner, name, translating(target, entries, first_uses)


def _lookup_owners(dotted: str) -> list[tuple[Any, str]]:
    """The objects on which a function or method is looked up, and its name.

    They are the class of a method, or a function's module under each of its names.
    """
    outer, _, name = dotted.rpartition(".")
    owner = resolve_dotted(outer)
    if isinstance(owner, type):
        return [(owner, name)]
    return [(resolve_dotted(alias), name) for alias in module_aliases(outer)]


def _translating_method(
    original: Callable[..., Any], entries: Iterable[RenamedArgument], first_uses: _FirstUses
) -> Callable[..., Any]:
    """``original`` as a method that also accepts old keyword arguments."""

    @functools.wraps(original)
    def translating(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _translate_call(Call(list(args), kwargs), entries, first_uses)
        return original(self, *call.args, **call.kwargs)

    # Keras reads the parameter names of a layer's ``__init__`` without following ``__wrapped__``.
    vars(translating)["__signature__"] = inspect.signature(original)
    return translating


def _translating_function(
    original: Callable[..., Any], entries: Iterable[RenamedArgument], first_uses: _FirstUses
) -> Callable[..., Any]:
    """``original`` as a function that also accepts old keyword arguments."""

    @functools.wraps(original)
    def translating(*args: Any, **kwargs: Any) -> Any:
        call = _translate_call(Call(list(args), kwargs), entries, first_uses)
        return original(*call.args, **call.kwargs)

    return translating


def _translate_call(call: Call, entries: Iterable[RenamedArgument], first_uses: _FirstUses) -> Call:
    for entry in entries:
        if entry.old_name not in call.kwargs:
            continue
        value = call.kwargs.pop(entry.old_name)
        if entry.translate(call, value) is False:
            call.kwargs[entry.old_name] = value
        else:
            first_uses(entry)
    return call


# Members


def _member_patches(first_uses: _FirstUses) -> Iterator[tuple[Any, str, Any]]:
    """Patches that add removed methods and attributes."""
    for entry in MEMBERS:
        owner = resolve_dotted(entry.owner)
        yield (
            owner,
            entry.old_name,
            (_MemberAttribute if entry.setter is None else _SettableMember)(entry, first_uses),
        )


class _MemberAttribute:
    """Descriptor of a removed member; an attribute of the object or a subclass comes first."""

    def __init__(self, entry: RemovedMember, first_uses: _FirstUses) -> None:
        self.entry, self.first_uses = entry, first_uses

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:
            return self.entry.getter
        if not _is_user_lookup():
            raise AttributeError(
                f"{kind.__name__!r} object has no attribute {self.entry.old_name!r}"
            )
        self.first_uses(self.entry)
        return self.entry.getter(owner) if self.entry.is_property else types.MethodType(
            self.entry.getter, owner
        )  # fmt: skip


class _SettableMember(_MemberAttribute):
    """Descriptor of a removed attribute that can be set."""

    def __set__(self, owner: Any, value: Any) -> None:
        assert self.entry.setter is not None
        self.first_uses(self.entry)
        self.entry.setter(owner, value)


def _method_patches(first_uses: _FirstUses) -> Iterator[tuple[Any, str, Any]]:
    """Patches that wrap changed methods, whatever they are at that moment."""
    for entry in WRAPPED:
        for owner, name in _lookup_owners(entry.method):
            original = inspect.getattr_static(owner, name)
            yield owner, name, entry.wrap(original, functools.partial(first_uses, entry))
