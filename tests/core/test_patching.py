"""Attributes are replaced for a while, and restored as they were stored."""

from __future__ import annotations

import threading
import types
from typing import Any

import pytest

from saldiag.core.patching import MISSING, Patch, SharedPatches, assign, patched


class Base:
    def method(self) -> str:
        return "base"

    @staticmethod
    def static() -> str:
        return "static"


class Derived(Base):
    @classmethod
    def of_class(cls) -> str:
        return cls.__name__


class Tracking:
    """Refuses what is not tracked through ``track``."""

    def __init__(self) -> None:
        object.__setattr__(self, "tracked", [])

    def __setattr__(self, name: str, value: Any) -> None:
        self.tracked.append(name)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        self.tracked.append(f"del {name}")
        object.__delattr__(self, name)


def replacement(*_: Any) -> str:
    return "new"


def test_an_inherited_method_is_inherited_again() -> None:
    thing = Derived()
    with patched(Derived, "method", replacement):
        assert thing.method() == "new"
        assert Base().method() == "base"
    assert thing.method() == "base"
    assert "method" not in vars(Derived)


def test_a_method_of_one_object_leaves_the_class_alone() -> None:
    one, other = Derived(), Derived()
    with patched(one, "method", replacement):
        assert (one.method(), other.method()) == ("new", "base")
    assert "method" not in vars(one)


@pytest.mark.parametrize(("owner", "name"), [(Base, "static"), (Derived, "of_class")])
def test_descriptors_come_back_as_they_were_stored(owner: type, name: str) -> None:
    stored = vars(owner)[name]
    with patched(owner, name, replacement):
        assert vars(owner)[name] is replacement
    assert vars(owner)[name] is stored
    assert getattr(owner(), name)() in ("static", "Derived")


def test_a_function_is_stored_as_it_is() -> None:
    """AutoGraph must meet plain functions."""
    module = types.ModuleType("module")
    module.call = len
    with patched(module, "call", replacement):
        assert vars(module)["call"] is replacement
        assert isinstance(module.call, types.FunctionType)
    assert module.call is len


def test_a_block_that_raises_restores_too() -> None:
    def fail() -> None:
        with patched(Derived, "method", replacement):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "method" not in vars(Derived)


def test_nested_patches_of_one_attribute_are_restored_one_by_one() -> None:
    thing = Derived()
    with patched(thing, "method", lambda: "outer"):
        with patched(thing, "method", lambda: "inner"):
            assert thing.method() == "inner"
        assert thing.method() == "outer"
    assert thing.method() == "base"


def test_a_patch_restores_whatever_came_since() -> None:
    thing = Derived()
    patch = Patch(thing, "method", replacement)
    assert patch.in_place
    assert patch.before is MISSING
    thing.method = lambda: "later"
    assert not patch.in_place
    patch.restore()
    assert thing.method() == "base"


def test_a_patch_is_withdrawn_while_it_is_on_top() -> None:
    thing = Derived()
    patch = Patch(thing, "method", replacement)
    assert patch.withdraw()
    assert thing.method() == "base"
    assert not patch.withdraw()


def test_a_patch_below_another_stays_as_a_passage() -> None:
    thing = Derived()
    original = thing.method
    patch = Patch(thing, "method", lambda: f"<{original()}>")
    below = thing.method
    thing.method = lambda: f"[{below()}]"
    assert not patch.withdraw()
    assert thing.method() == "[<base>]"


def test_the_owner_may_be_left_out_of_it() -> None:
    thing = Tracking()
    with patched(thing, "one", 1):
        pass
    assert thing.tracked == ["one", "del one"]
    thing.tracked.clear()
    thing.two = 2
    with patched(thing, "one", 1, untracked=True), patched(thing, "two", 3, untracked=True):
        assert (thing.one, thing.two) == (1, 3)
    assert thing.tracked == ["two"]
    assert not hasattr(thing, "one")
    assert thing.two == 2


def test_a_setter_runs_when_a_flag_is_assigned_and_restored() -> None:
    class Flagged:
        def __init__(self) -> None:
            self.heard: list[bool] = []

        @property
        def trainable(self) -> bool:
            return not self.heard or self.heard[-1]

        @trainable.setter
        def trainable(self, value: bool) -> None:
            self.heard.append(value)

    thing = Flagged()
    restore = assign(thing, "trainable", False)
    assert not thing.trainable
    restore()
    assert thing.trainable
    assert thing.heard == [False, True]


def test_what_was_not_there_is_gone_again() -> None:
    thing = Derived()
    assign(thing, "extra", 1)()
    assert not hasattr(thing, "extra")


class Owner:
    value = "own"


def test_shared_patches_stay_until_the_last_block_ends() -> None:
    shared = SharedPatches((Owner, "value", "replaced"))
    assert not shared.is_wanted
    with shared.in_place():
        with shared.in_place():
            assert Owner.value == "replaced"
        assert Owner.value == "replaced"
        assert shared.is_wanted
    assert Owner.value == "own"
    assert not shared.is_wanted


def test_shared_patches_are_restored_after_an_error() -> None:
    shared = SharedPatches((Owner, "value", "replaced"))
    with pytest.raises(RuntimeError), shared.in_place():
        raise RuntimeError
    assert Owner.value == "own"


def test_shared_patches_are_wanted_in_the_thread_of_the_block_only() -> None:
    shared = SharedPatches((Owner, "value", "replaced"))
    seen = []
    with shared.in_place():
        thread = threading.Thread(target=lambda: seen.append((Owner.value, shared.is_wanted)))
        thread.start()
        thread.join()
    assert seen == [("replaced", False)]
