"""A page for each rule and an index by family, from what ``saldiag explain`` prints."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from saldiag.cli.main import main
from saldiag_docs.markdown import table

FOLDER = "rules"
RELATIONS = {
    "anywhere": "anywhere in the model",
    "same_layer": "at the same layer",
    "same_path": "upstream or downstream of its layer",
    "upstream": "upstream of its layer",
    "downstream": "downstream of its layer",
}


def _printed(*arguments: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        code = main([*arguments, "--format", "json"])
    if code != 0:
        raise RuntimeError(f"saldiag {' '.join(arguments)} failed")
    found: dict[str, Any] = json.loads(text.getvalue())
    return found


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """Every rule by code: what ``saldiag rules`` and ``saldiag explain`` know of it.

    An empty settings file keeps the settings of the working directory out.
    """
    listed = _printed("rules", "--config", os.devnull)["rules"]
    return tuple({**rule, **_printed("explain", rule["code"])} for rule in listed)


def codes() -> frozenset[str]:
    """The codes of all rules."""
    return frozenset(rule["code"] for rule in rules())


def families() -> dict[str, list[dict[str, Any]]]:
    """The rules of each family, in the order of their codes."""
    found: dict[str, list[dict[str, Any]]] = {}
    for rule in rules():
        found.setdefault(rule["family"], []).append(rule)
    return found


def pages() -> dict[str, str]:
    """The pages by their path below docs/."""
    return {
        f"{FOLDER}/index.md": _index(),
        **{f"{FOLDER}/{rule['code']}.md": _page(rule) for rule in rules()},
    }


def navigation() -> list[dict[str, list[dict[str, str]]]]:
    """A section of mkdocs' ``nav`` for each family."""
    return [
        {_title(family): [{f"{r['code']} {r['name']}": f"{FOLDER}/{r['code']}.md"} for r in some]}
        for family, some in families().items()
    ]


def _title(family: str) -> str:
    return family.replace("_", " ").capitalize()


def _index() -> str:
    parts = [
        "# Rules",
        f"{len(rules())} rules in {len(families())} families. A rule reads measurements and yields"
        " findings; a rule that cannot judge is *skipped* with the reason. Codes are never reused."
        " `saldiag rules` prints this list, `saldiag explain CODE` prints a page of it, and"
        " [settings](../how-to/choose-rules.md) turn rules off and change their thresholds.",
    ]
    for family, some in families().items():
        about = inspect.getdoc(importlib.import_module(f"saldiag.rules.{family}")) or ""
        rows = [(f"[{r['code']}]({r['code']}.md)", f"`{r['name']}`", r["severity"], r["title"])
                for r in some]  # fmt: skip
        parts += [f"## {_title(family)} (SD{some[0]['code'][2]})", about]
        parts += [table(("Code", "Name", "Severity", "Title"), rows)]
    return "\n\n".join(part for part in parts if part)


def _page(rule: Mapping[str, Any]) -> str:
    needs = [f"[`{key}`](../reference/files/measurements.md#{key})" for key in rule["requires"]]
    facts = [
        ("Severity", rule["severity"]),
        ("Family", f"[{_title(rule['family'])}](index.md#{_anchor(rule)})"),
        ("Requires", ", ".join(needs) or "no single measurement: it uses those that exist"),
    ]
    parts = [f"# {rule['code']} {rule['name']}", rule["title"], table(("", ""), facts)]
    parts += [f"## {head}\n\n{text}" for head, text in rule["sections"].items()]
    parts += _settings(rule)
    parts += _relations(rule)
    return "\n\n".join(parts) + "\n"


def _anchor(rule: Mapping[str, Any]) -> str:
    return f"{rule['family'].replace('_', '-')}-sd{rule['code'][2]}"


def _settings(rule: Mapping[str, Any]) -> list[str]:
    """How to change its thresholds, and how to turn it off."""
    parts = ["## Settings"]
    if rule["thresholds"]:
        rows = [(f"`{name}`", f"{value:g}") for name, value in rule["thresholds"].items()]
        name, value = next(iter(rule["thresholds"].items()))
        example = f"```toml\n[thresholds.{rule['code']}]\n{name} = {value:g}\n```"
        parts += [table(("Threshold", "Default"), rows), f"In `saldiag.toml`:\n\n{example}"]
    return [*parts, f"`--ignore {rule['code']}` turns the rule off."]


def _relations(rule: Mapping[str, Any]) -> list[str]:
    causes = [other for other in rules() if rule["code"] in other["explains"]]
    parts: list[str] = []
    if rule["explains"]:
        parts += ["## Explains", "A finding of this rule is the cause of these findings:"]
        parts += [_listed([(code, where) for code, where in rule["explains"].items()])]
    if causes:
        parts += ["## Explained by", "A finding of this rule can be the effect of:"]
        parts += [_listed([(other["code"], None) for other in causes])]
    return parts


def _listed(others: Sequence[tuple[str, str | None]]) -> str:
    names = {rule["code"]: rule["name"] for rule in rules()}
    return "\n".join(
        f"- {code} `{names[code]}`" + (f", {RELATIONS[where]}" if where else "")
        for code, where in others
        if code in names
    )
