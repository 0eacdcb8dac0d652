"""A page for each JSON schema, and the schema itself as a file of the site."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from saldiag_docs.markdown import escaped, table

FOLDER = "reference/files"
SCHEMAS = Path(__file__).parents[2] / "reports" / "saldiag_reports" / "schema"
SUFFIX = ".schema.json"


def schemas() -> dict[str, dict[str, Any]]:
    """The schemas by name, such as ``diagnosis``."""
    return {
        path.name.removesuffix(SUFFIX): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(SCHEMAS.rglob(f"*{SUFFIX}"))
    }


def pages() -> dict[str, str]:
    """The pages and the schemas' own text, by their path below docs/."""
    found: dict[str, str] = {}
    for name, schema in schemas().items():
        found[f"{FOLDER}/{_file(name)}"] = _page(name, schema)
        found[f"{FOLDER}/{name}{SUFFIX}"] = json.dumps(schema, indent=2, ensure_ascii=False)
    return found


def navigation() -> list[dict[str, str]]:
    """An entry of mkdocs' ``nav`` for each schema."""
    return [{f"{name}.json": f"{FOLDER}/{_file(name)}"} for name in schemas()]


def _file(name: str) -> str:
    return f"{name}-json.md"


def _page(name: str, schema: Mapping[str, Any]) -> str:
    parts = [
        f"# {schema.get('title', name)}",
        escaped(schema.get("description", "")),
        f"JSON Schema (2020-12): [`{name}{SUFFIX}`]({name}{SUFFIX}). An entry that is not listed as"
        " required may be absent.",
        *_sections("", schema),
    ]
    for key, part in schema.get("$defs", {}).items():
        parts += [f"## {key} {{#{_anchor(key)}}}", *_definition(part)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _anchor(definition: str) -> str:
    return f"def-{definition.lower()}"


def _definition(part: Mapping[str, Any]) -> Iterator[str]:
    text = escaped(part.get("description", ""))
    objects = list(_objects("", part))
    if not objects:
        yield " ".join(filter(None, [f"{_type(part)}.", text]))
        return
    yield text
    yield from _sections("", part)


def _sections(at: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """A table for the object, and one for each object inside of it."""
    for path, part in _objects(at, schema):
        if path:
            yield f"**`{path}`**"
        required = part.get("required", ())
        rows = [
            (
                f"`{name}`",
                _type(field),
                "yes" if name in required else "",
                escaped(field.get("description", "")),
            )
            for name, field in part["properties"].items()
        ]
        yield table(("Field", "Type", "Required", "Meaning"), rows)


def _objects(at: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object with fields in ``schema``, with its path; references are not followed."""
    if "properties" in schema:
        yield at, schema
        for name, field in schema["properties"].items():
            yield from _objects(f"{at}.{name}" if at else name, field)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for part in schema.get(key, ()):
            yield from _objects(at, part)
    if isinstance(schema.get("items"), dict):
        yield from _objects(f"{at}[]", schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _objects(f"{at}.*", schema["additionalProperties"])


def _type(field: Mapping[str, Any]) -> str:
    """A field's type in words."""
    for key, in_words in _TYPES.items():
        if key in field:
            return in_words(field[key])
    kind = field.get("type", "any")
    if kind == "array" and isinstance(field.get("items"), dict):
        return f"array of {_type(field['items'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _reference(target: str) -> str:
    name = re.sub(r"^#(/\$defs/)?", "", target)
    return f"[{name}](#{_anchor(name)})" if name else "the whole document"


def _values(*values: Any) -> str:
    return ", ".join(f"`{json.dumps(value, ensure_ascii=False)}`" for value in values)


def _alternatives(parts: Sequence[Mapping[str, Any]]) -> str:
    return " or ".join(dict.fromkeys(_type(part) for part in parts))


_TYPES: dict[str, Callable[[Any], str]] = {
    "$ref": _reference,
    "const": _values,
    "enum": lambda values: _values(*values),
    "anyOf": _alternatives,
    "oneOf": _alternatives,
}
