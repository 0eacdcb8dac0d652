"""JSON Schemas (draft 2020-12) of dataclasses, from their annotations and docstrings.

A field's docstring is its ``description``, in which None becomes null. What Python's types do not
say is in the annotations (``saldiag.core.field_types``). NaN and infinities are strings in JSON, as
``jsonio`` writes them.
Arrays are not in the JSON: a measurement's arrays are in ``KEY.npz``, and ``arrays`` lists them.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from saldiag.core.field_types import MAY_BE_ABSENT, Constraint

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}

Schema = dict[str, Any]
Definitions = dict[str, Schema]

_PLAIN: dict[Any, str] = {str: "string", int: "integer", bool: "boolean", type(None): "null"}


def document_schema(kind: type[Any], title: str, description: str) -> Schema:
    """The schema of a JSON document that holds one ``kind``.

    All fields are required, except those marked with ``MAY_BE_ABSENT``.

    Args:
        kind: a dataclass.
        title: title of the schema.
        description: where the document is found.
    """
    definitions: Definitions = {}
    body = _dataclass_schema(kind, definitions, defaults_required=True)
    return {
        "$schema": DIALECT,
        "title": title,
        "description": f"{description} {body.pop('description')}",
        **body,
        "$defs": _sorted_definitions(definitions),
    }


def files_schema(kinds: Mapping[str, type[Any]], title: str, description: str) -> Schema:
    """The schema of a set of JSON files by name; ``#/$defs/NAME`` is that of one file.

    A file has a ``schema_version`` beside the fields of its dataclass. Fields with a default may be
    absent, because older files lack those that were added since.

    Args:
        kinds: a dataclass for each name of a file.
        title: title of the schema.
        description: what the files are.
    """
    definitions: Definitions = {}
    files = {}
    for name, kind in kinds.items():
        files[name] = _reference(kind, definitions, defaults_required=False)
        body = definitions[definition_name(kind)]
        body["properties"] = {"schema_version": {"const": 1}, **body["properties"]}
        body["required"] = ["schema_version", *body["required"]]
    return {
        "$schema": DIALECT,
        "title": title,
        "description": description,
        "type": "object",
        "additionalProperties": False,
        "properties": files,
        "$defs": _sorted_definitions(definitions),
    }


def definition_name(kind: type[Any]) -> str:
    """``TensorFacts`` as ``tensor_facts``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()


def _sorted_definitions(definitions: Definitions) -> Definitions:
    return {name: definitions[name] for name in sorted(definitions)}


def field_docstrings(kind: type[Any]) -> dict[str, str]:
    """The docstring under each field of a class and its bases, on one line."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        if dataclasses.is_dataclass(owner):
            found |= _own_docstrings(owner)
    return found


def _own_docstrings(kind: type[Any]) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for statement, after in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr):
            text = getattr(after.value, "value", None)
            if isinstance(text, str):
                found[ast.unparse(statement.target)] = re.sub(
                    r"\bNone\b", "null", _on_one_line(text)
                )
    return found


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _dataclass_schema(
    kind: type[Any], definitions: Definitions, *, defaults_required: bool
) -> Schema:
    hints, docstrings = get_type_hints(kind, include_extras=True), field_docstrings(kind)
    properties: dict[str, Schema] = {}
    arrays: dict[str, Schema] = {}
    required = []
    for field in dataclasses.fields(kind):
        description = {"description": docstrings[field.name]} if field.name in docstrings else {}
        if _is_array(hints[field.name]):
            arrays[field.name] = description
            continue
        described = _of_type(hints[field.name], definitions, defaults_required=defaults_required)
        properties[field.name] = {**description, **described}
        optional = field.metadata == MAY_BE_ABSENT or not (defaults_required or _no_default(field))
        if not optional:
            required.append(field.name)
    return {
        "description": _on_one_line(kind.__doc__ or ""),
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
        **({"arrays": arrays} if arrays else {}),
    }


def _no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _is_array(hint: Any) -> bool:
    return (get_origin(hint) or hint) is np.ndarray


def _reference(kind: type[Any], definitions: Definitions, *, defaults_required: bool) -> Schema:
    name = definition_name(kind)
    if name not in definitions:
        definitions[name] = {}  # a dataclass may refer to itself
        definitions[name] = _dataclass_schema(
            kind, definitions, defaults_required=defaults_required
        )
    return {"$ref": f"#/$defs/{name}"}


def _of_type(hint: Any, definitions: Definitions, *, defaults_required: bool) -> Schema:
    """The schema of a value of an annotated type."""

    def inner(part: Any) -> Schema:
        return _of_type(part, definitions, defaults_required=defaults_required)

    if hint is Any:
        return {}
    if hint is float:
        definitions["number"] = NUMBER
        return {"$ref": "#/$defs/number"}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _reference(hint, definitions, defaults_required=defaults_required)
    return _GENERIC[get_origin(hint)](get_args(hint), inner)


Inner = Callable[[Any], Schema]


def _annotated(arguments: tuple[Any, ...], inner: Inner) -> Schema:
    kind, *constraints = arguments
    schema = inner(kind)
    for constraint in constraints:
        if isinstance(constraint, Constraint):
            schema = _constrained(kind, schema, constraint)
    return schema


def _constrained(kind: Any, schema: Schema, constraint: Constraint) -> Schema:
    if constraint.constant is not None:
        return {"const": constraint.constant}
    keywords = {
        "pattern": constraint.pattern,
        "minLength": constraint.min_length,
        "minimum": constraint.minimum,
        "maximum": constraint.maximum,
        "minItems": constraint.min_items,
    }
    finite = {"type": "number"} if kind is float else schema
    return {**finite, **{name: value for name, value in keywords.items() if value is not None}}


def _choice(arguments: tuple[Any, ...], inner: Inner) -> Schema:
    """A union; plain types become one list of types, and None joins an enumeration."""
    kinds = [inner(kind) for kind in arguments]
    if all(kind.keys() == {"type"} for kind in kinds):
        return {"type": [kind["type"] for kind in kinds]}
    if len(kinds) == 2 and {"type": "null"} in kinds:
        (other,) = (kind for kind in kinds if kind != {"type": "null"})
        if other.keys() == {"enum"}:
            return {"enum": [*other["enum"], None]}
    return {"anyOf": kinds}


def _tuple(arguments: tuple[Any, ...], inner: Inner) -> Schema:
    if arguments[1:] == (Ellipsis,):
        item = inner(arguments[0])
        return {"type": "array", **({"items": item} if item else {})}
    length = {"minItems": len(arguments), "maxItems": len(arguments)}
    if len(set(arguments)) == 1:
        return {"type": "array", "items": inner(arguments[0]), **length}
    return {"type": "array", "prefixItems": [inner(part) for part in arguments], **length}


def _mapping(arguments: tuple[Any, ...], inner: Inner) -> Schema:
    value = inner(arguments[1])
    return {"type": "object", **({"additionalProperties": value} if value else {})}


_GENERIC: dict[Any, Callable[[tuple[Any, ...], Inner], Schema]] = {
    Annotated: _annotated,
    Literal: lambda arguments, _: {"enum": list(arguments)},
    Union: _choice,
    types.UnionType: _choice,
    tuple: _tuple,
    dict: _mapping,
}
