"""Every field of a public dataclass has a docstring of its own, directly under it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
ROOTS = ("saldiag", "probes/saldiag_probes", "reports/saldiag_reports")


Field = tuple[str, str, int]
"""Class, field, line."""


def is_dataclass(node: ast.ClassDef) -> bool:
    names = [ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list]
    return any(name.rpartition(".")[2] == "dataclass" for name in names)


def is_field(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and not node.target.id.startswith("_")
        and "ClassVar" not in ast.unparse(node.annotation)
    )


def is_docstring(node: ast.stmt | None) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and bool(node.value.value.strip())
    )


def undocumented(tree: ast.Module) -> Iterator[Field]:
    """Fields of public dataclasses without a docstring."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        if is_dataclass(node):
            following = [*node.body[1:], None]
            for statement, after in zip(node.body, following, strict=True):
                if is_field(statement) and not is_docstring(after):
                    yield node.name, ast.unparse(statement.target), statement.lineno


def modules(folder: str) -> list[Path]:
    return sorted((CHECKOUT / folder).rglob("*.py"))


@pytest.mark.parametrize("root", ROOTS)
def test_every_field_has_a_docstring(root: str) -> None:
    missing = [
        f"{path.relative_to(CHECKOUT)}:{line}: {kind}.{name}"
        for path in modules(root)
        for kind, name, line in undocumented(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not missing, "\n".join(missing)


def test_a_missing_docstring_is_found() -> None:
    source = '''
@dataclass(frozen=True)
class Row:
    key: ClassVar[str] = "row"
    path: str
    """Path."""
    size: int
    """ """
    _cache: int = 0
    last: float = 0.0

@dataclass
class _Private:
    hidden: int

class Plain:
    attribute: int
'''
    assert list(undocumented(ast.parse(source))) == [("Row", "size", 7), ("Row", "last", 10)]
