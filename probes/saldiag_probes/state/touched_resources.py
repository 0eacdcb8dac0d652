"""Variables and hash tables that belong to no model: they are restored when a block touched them.

A loss may count its calls in a ``tf.Variable``, a closure may hold one, a ``tf.random.Generator``
is one. No list of them exists, so they are noted when they are used: every operation on a variable
takes its handle, and every traced function is called with the handles that it captured.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import TFVariable
from saldiag.core.patching import SharedPatches
from saldiag.keras_internals.distribution import local_copies
from saldiag.keras_internals.graphs import ConcreteFunction, draws_from_kernels, with_own_kernels
from saldiag.keras_internals.names import CALL_FUNCTION
from saldiag.keras_internals.variables import (
    EagerTensor,
    ResourceVariable,
    TableBase,
    variable_dtype,
)


@contextlib.contextmanager
def preserved_resources(variables: Iterable[TFVariable] = ()) -> Iterator[TouchedResources]:
    """Restore, at the end of the block, every variable and hash table that this thread used in it.

    Values come back bit for bit, also when the block raises. A variable that the block itself
    created keeps the value that it was created with.

    A traced function with random operations is called as a copy of its own, because the state of
    its random kernels cannot be read or set: the copy starts from the seeds, and the function
    itself continues afterwards as if it had not been called.

    Not covered are resources that are neither: the position of a dataset's iterator, queues, and
    hash tables that a function traced before the block changes; and Python objects.

    Args:
        variables: those that the block is known to change; they are restored in any case.
    """
    journal = TouchedResources(variables)
    try:
        with _patches.in_place():
            _journals.open.append(journal)
            try:
                yield journal
            finally:
                _journals.open.remove(journal)
    finally:
        journal.restore()


def keep_changes(variables: Iterable[TFVariable]) -> None:
    """Leave these variables, the results of a block, as the blocks that this thread is in set them.

    Args:
        variables: not changed yet by the innermost block.
    """
    handles = [_handle_of(variable) for variable in variables]
    for journal in _journals.open:
        journal.seen.update({id(handle): handle for handle in handles})


def restart_copies() -> None:
    """Let the random kernels of the functions that a block of this thread called restart."""
    for journal in _journals.open:
        journal.copies.clear()


class TouchedResources:
    """What the resources held when a block first used them."""

    def __init__(self, variables: Iterable[TFVariable]) -> None:
        self.seen: dict[int, Any] = {}
        """The handles, by identity. An eager handle is one object for all who use it."""
        self._values: list[tuple[Any, Any]] = []
        """Handles of the variables that are restored in any case, and their values."""
        self._others: list[tuple[Any, Any]] = []
        self._undo: list[Callable[[], Any]] = []
        self.copies: dict[int, tuple[Any, Any]] = {}
        """A traced function and its copy, or itself if it needs none, by identity."""
        for variable in variables:
            self._remember(variable)

    def restore(self) -> None:
        """Write every value back, the one that was noted first last."""
        for undo in reversed(self._undo):
            undo()
        assign = tf.raw_ops.AssignVariableOp
        for handle, value in self._values:
            assign(resource=handle, value=value)

    def note(self, handle: Any, dtype: Any = None) -> None:
        """Remember the value behind an eager handle, unless it is known."""
        if id(handle) in self.seen or not isinstance(handle, EagerTensor):
            return
        self.seen[id(handle)] = handle
        dtype = dtype or variable_dtype(handle)
        if dtype is None:
            return
        # Outside of the function that is being traced, and of the block's gradient tapes.
        with tf.init_scope():
            if not tf.raw_ops.VarIsInitializedOp(resource=handle):
                return  # created in this block
            value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)
        self._undo.append(lambda: tf.raw_ops.AssignVariableOp(resource=handle, value=value))
        self._others.append((handle, value))

    def others_changed(self) -> bool:
        """Whether a variable that was not given has another value, generators not counted."""
        return any(
            _is_no_generator(value)
            and not bool(
                tf.reduce_all(
                    value == tf.raw_ops.ReadVariableOp(resource=handle, dtype=value.dtype)
                )
            )
            for handle, value in self._others
        )

    def note_table(self, table: Any, handle: Any) -> None:
        """Remember the content of a hash table that can change."""
        if id(handle) in self.seen or not isinstance(handle, EagerTensor):
            return
        self.seen[id(handle)] = handle
        if not (hasattr(table, "export") and hasattr(table, "insert")):
            return
        with tf.init_scope():
            keys, values = table.export()
        self._undo.append(
            lambda: tf.raw_ops.LookupTableImportV2(table_handle=handle, keys=keys, values=values)
        )

    def own_copy(self, function: Any) -> Any:
        """The function to call in place of a traced one: its copy if it has random kernels."""
        if id(function) not in self.copies:
            copy = with_own_kernels(function) if draws_from_kernels(function) else function
            self.copies[id(function)] = (function, copy)
            self.copies[id(copy)] = (copy, copy)
        return self.copies[id(function)][1]

    def _remember(self, variable: TFVariable) -> None:
        """Reading shares the buffer until somebody writes, so it costs what the block changes.

        The raw operation costs a fifth of ``read_value``, and a model has hundreds of variables.
        """
        if not isinstance(variable, ResourceVariable):
            for copy in local_copies(variable):  # of a distributed variable
                self._remember(copy)
            return
        handle = variable.handle
        self.seen[id(handle)] = handle
        value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=variable.dtype)
        self._values.append((handle, value))


def _is_no_generator(value: Any) -> bool:
    """Whether a value is none of a ``SeedGenerator`` or a ``tf.random.Generator``."""
    return value.dtype not in (tf.uint32, tf.int64, tf.uint64) or value.shape.rank != 1


class _Journals(threading.local):
    """The journals of the blocks that this thread is in, the outermost first."""

    def __init__(self) -> None:
        self.open: list[TouchedResources] = []


_journals = _Journals()
_handle_of = ResourceVariable.handle.fget
_table_handle_of = TableBase.resource_handle.fget
_call = getattr(ConcreteFunction, CALL_FUNCTION)


def _noted_handle(self: Any) -> Any:
    handle = _handle_of(self)
    journals = _journals.open
    if journals and id(handle) not in journals[-1].seen:
        journals[-1].note(handle, self.dtype)
    return handle


def _noted_table_handle(self: Any) -> Any:
    handle = _table_handle_of(self)
    if _journals.open:
        _journals.open[-1].note_table(self, handle)
    return handle


def _noted_call(self: Any, tensor_inputs: Any, captured_inputs: Any) -> Any:
    if not _journals.open:
        return _call(self, tensor_inputs, captured_inputs)
    journal = _journals.open[-1]
    for tensor in (*tensor_inputs, *captured_inputs):
        if id(tensor) not in journal.seen and tensor.dtype == tf.resource:
            journal.note(tensor)
    function = journal.own_copy(self) if tf.executing_eagerly() else self
    return _call(function, tensor_inputs, captured_inputs)


_patches = SharedPatches(
    (ResourceVariable, "handle", property(_noted_handle)),
    (TableBase, "resource_handle", property(_noted_table_handle)),
    (ConcreteFunction, CALL_FUNCTION, _noted_call),
)
