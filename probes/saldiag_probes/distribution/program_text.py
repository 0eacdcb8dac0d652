"""What the text of the program says about the number of replicas, without running it."""

from __future__ import annotations

import ast
import linecache
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from saldiag.core.measurement import Source

REPLICAS = "num_replicas_in_sync"
"""Name of the attribute of a strategy that a program scales by."""
_RATE_CALLBACKS = frozenset({"LearningRateScheduler", "ReduceLROnPlateau"})
_REDUCING = ("reduce_", "mean", "sum", "compute_average_loss")
"""Starts of the names of functions that reduce a value per item."""
_OPTIMIZERS = frozenset({
    "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion", "Muon",
    "Nadam", "RMSprop", "SGD",
})  # fmt: skip


@dataclass(frozen=True)
class ReplicaScaling:
    """Whether a program scales its batch size and its learning rate by the number of replicas."""

    batch: int = 0
    """Line that multiplies the batch size by the number of replicas; 0 if there is none."""
    rate_scaled: bool | None = None
    """Whether the learning rate depends on the number of replicas; None if unknown."""
    rate: int = 0
    """Line that sets the learning rate; 0 if unknown."""


def replica_scaling(file: str) -> ReplicaScaling:
    """What the program in ``file`` scales by the number of replicas; nothing if it is no Python."""
    tree = _parsed(file)
    if tree is None or REPLICAS not in "".join(linecache.getlines(_path(file))):
        return ReplicaScaling()
    scaled = _names_from_replicas(tree)
    batch = next(_scaled_batches(tree, scaled), 0)
    return ReplicaScaling(batch, *_rate(tree, scaled))


def may_weight_loss(source: Source, replicas: int) -> bool:
    """Whether the statement at a line can multiply the loss by a weight.

    It does so if it multiplies or divides by a number that equals the number of replicas or its
    inverse, or multiplies by a name that is not computed from the number of replicas. What is
    inside a reduction concerns single items and does not count. True if the line cannot be read.
    """
    tree = _parsed(source.file)
    statement = _statement_at(tree, source.line) if tree is not None else None
    if tree is None or statement is None:
        return True
    scaled = _names_from_replicas(tree)
    return any(
        _is_weight(operand, operation.op, replicas, scaled)
        for operation in _operations_outside_reductions(statement)
        if isinstance(operation.op, (ast.Mult, ast.Div))
        for operand in (operation.left, operation.right)
    )


def _operations_outside_reductions(node: ast.AST) -> Iterator[ast.BinOp]:
    if isinstance(node, ast.Call) and _called(node).startswith(_REDUCING):
        return
    if isinstance(node, ast.BinOp):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _operations_outside_reductions(child)


def _is_weight(operand: ast.expr, operator: ast.operator, replicas: int, scaled: set[str]) -> bool:
    if isinstance(operand, ast.Constant) and isinstance(operand.value, (int, float)):
        values = (float(replicas), 1.0 / replicas)
        return any(math.isclose(operand.value, value, rel_tol=1e-3) for value in values)
    if not isinstance(operator, ast.Mult) or not isinstance(operand, (ast.Name, ast.Attribute)):
        return False
    name = operand.attr if isinstance(operand, ast.Attribute) else operand.id
    return not any((_depends(operand, scaled), "replica" in name.lower(), "loss" in name.lower()))


def _path(file: str) -> str:
    return str(Path.cwd() / file)


def _parsed(file: str) -> ast.Module | None:
    lines = linecache.getlines(_path(file))
    try:
        return ast.parse("".join(lines)) if lines else None
    except (SyntaxError, ValueError):
        return None


def _statement_at(tree: ast.Module, line: int) -> ast.stmt | None:
    """The innermost statement that covers a line."""
    covering = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return max(covering, key=lambda node: (node.lineno, -(node.end_lineno or 0)), default=None)


def _names_from_replicas(tree: ast.Module) -> set[str]:
    """Names of variables that are computed from the number of replicas, directly or not."""
    scaled: set[str] = set()
    grew = True
    while grew:
        before = len(scaled)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and _depends(node.value, scaled):
                scaled |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        grew = len(scaled) > before
    return scaled


def _depends(node: ast.AST, scaled: set[str]) -> bool:
    return any(
        (isinstance(part, ast.Attribute) and part.attr == REPLICAS)
        or (isinstance(part, ast.Name) and part.id in scaled)
        for part in ast.walk(node)
    )


def _scaled_batches(tree: ast.Module, scaled: set[str]) -> Iterator[int]:
    """Lines that multiply a batch size by the number of replicas."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            named = any(isinstance(t, ast.Name) and "batch" in t.id.lower() for t in node.targets)
            if named and _multiplies(node.value, scaled):
                yield node.lineno
        elif isinstance(node, ast.Call):
            sizes = [k.value for k in node.keywords if k.arg == "batch_size"]
            if isinstance(node.func, ast.Attribute) and node.func.attr == "batch":
                sizes += node.args[:1]
            if any(_multiplies(size, scaled) for size in sizes):
                yield node.lineno


def _multiplies(node: ast.expr, scaled: set[str]) -> bool:
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Mult)
        and (_depends(node.left, scaled) or _depends(node.right, scaled))
    )


def _rate(tree: ast.Module, scaled: set[str]) -> tuple[bool | None, int]:
    """Whether the rate depends on the number of replicas, and the line that sets it."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    if any(_called(call) in _RATE_CALLBACKS for call in calls):
        return None, 0
    made = [call for call in calls if _called(call) in _OPTIMIZERS]
    if not made:
        return None, 0
    rates = [rate for call in made for rate in _rates(call)]
    if any(_depends(rate, scaled) for rate in rates):
        return True, made[0].lineno
    if any(not isinstance(rate, (ast.Constant, ast.BinOp)) for rate in rates):
        return None, made[0].lineno  # a schedule, or a name
    return False, made[0].lineno


def _rates(call: ast.Call) -> list[ast.expr]:
    named = [k.value for k in call.keywords if k.arg == "learning_rate"]
    return named or list(call.args[:1])


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""
