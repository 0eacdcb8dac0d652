"""Finds the rules: one class in each ``saldiag/rules/FAMILY/sdNNN_name.py``, and registered ones.

Another package registers a rule as an entry point of the group ``saldiag.rules``::

    [project.entry-points."saldiag.rules"]
    attention-mask = "my_package.rules:AttentionMaskIgnored"
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from functools import cache
from types import ModuleType

import saldiag.rules
from saldiag.core.entry_points import registered_classes
from saldiag.core.errors import SaldiagError
from saldiag.core.findings.rule import Rule
from saldiag.core.suggest import suggestion

GROUP = "saldiag.rules"
"""Name of the entry-point group."""
_MODULE = re.compile(r"sd\d{3}_\w+")
_CODE = re.compile(r"[A-Z]{2,8}\d{3}")


@cache
def all_rules() -> tuple[type[Rule], ...]:
    """All rules, sorted by code.

    Raises:
        RuntimeError: a file does not contain exactly one rule, two rules share a code or a name, or
            an entry point is not a rule.
    """
    rules = [*(_rule_in(module) for module in _rule_modules()), *_registered_rules()]
    found = sorted(rules, key=lambda rule: rule.code)
    for attribute in ("code", "name"):
        values = [getattr(rule, attribute) for rule in found]
        duplicates = {value for value in values if values.count(value) > 1}
        if duplicates:
            raise RuntimeError(f"two rules share the {attribute} {min(duplicates)}")
    return tuple(found)


def _rule_modules() -> list[ModuleType]:
    names = [
        f"saldiag.rules.{family.name}.{file.name}"
        for family in pkgutil.iter_modules(saldiag.rules.__path__)
        if family.ispkg
        for file in pkgutil.iter_modules(
            [f"{path}/{family.name}" for path in saldiag.rules.__path__]
        )
        if _MODULE.fullmatch(file.name)
    ]
    return [importlib.import_module(name) for name in names]


def _registered_rules() -> list[type[Rule]]:
    """Rules of other packages, whose codes are two to eight letters and three digits."""
    found = registered_classes(GROUP, Rule)  # type: ignore[type-abstract]
    for rule in found:
        if not _CODE.fullmatch(rule.code) or rule.code.startswith("SD"):
            raise RuntimeError(
                f"rule {rule.code} of {rule.__module__}: give it a code such as ACME101"
            )
    return found


def _rule_in(module: ModuleType) -> type[Rule]:
    rules = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Rule)
        and value.__module__ == module.__name__
    ]
    if len(rules) != 1:
        raise RuntimeError(f"{module.__name__} contains {len(rules)} rules, not one")
    return rules[0]


def family_of(rule: type[Rule]) -> str:
    """Name of the folder of the rule's file, such as ``wiring``; of other packages their name."""
    package, *folders = rule.__module__.split(".")[:-1] or [rule.__module__]
    return folders[-1] if folders and package == "saldiag" else package


def family_of_code(code: str) -> str | None:
    """The family of the rule with that code; None if there is no such rule."""
    return next((family_of(rule) for rule in all_rules() if rule.code == code), None)


def rule_by_name(code_or_name: str) -> type[Rule]:
    """The rule with that code (``SD101``, in any case) or name (``single-channel-softmax``).

    Raises:
        SaldiagError: there is none; the message suggests the most similar name.
    """
    for rule in all_rules():
        if code_or_name.upper() == rule.code or code_or_name.lower() == rule.name:
            return rule
    known = [text for rule in all_rules() for text in (rule.code, rule.name)]
    raise SaldiagError(f"no rule {code_or_name!r}: {suggestion(code_or_name, known)}")


def chosen_rules(chosen: tuple[str, ...]) -> frozenset[type[Rule]]:
    """The rules selected by codes, names or starts of codes (``SD2`` is a whole family).

    Raises:
        SaldiagError: one of them matches no rule.
    """
    found: set[type[Rule]] = set()
    for text in chosen:
        family = {
            rule
            for rule in all_rules()
            if _is_code_prefix(text) and rule.code.startswith(text.upper())
        }
        found |= family or {rule_by_name(text)}
    return frozenset(found)


def _is_code_prefix(text: str) -> bool:
    return re.fullmatch(r"(?i)[a-z]{2,8}\d{0,2}", text) is not None
