"""Settings of a project: ``saldiag.toml``, or ``[tool.saldiag]`` in ``pyproject.toml``.

    select = ["SD1", "SD201"]        # codes, starts of codes, or names; default: all
    ignore = ["float32-islands"]

    [thresholds.SD203]
    decades = 6

The nearest file in the working directory or above it counts, and it alone: where a folder has both,
``saldiag.toml`` does. Whether the rules and thresholds exist is for the rules' engine to say.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saldiag.core.errors import ConfigError
from saldiag.core.suggest import suggestion

OWN_FILE = "saldiag.toml"
SHARED_FILE = "pyproject.toml"
KEYS = ("select", "ignore", "thresholds")


@dataclass(frozen=True)
class RuleSettings:
    """Which rules judge, and with which thresholds."""

    select: tuple[str, ...] | None = None
    """Codes, prefixes of codes, or names of the rules to use; None for all."""
    ignore: tuple[str, ...] = ()
    """Codes, prefixes of codes, or names of the rules to leave out."""
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Thresholds by rule (code or name) and by the threshold's name."""
    file: str | None = None
    """Path of the settings file; None if there is none."""


def listed(rules: str | Sequence[str]) -> tuple[str, ...]:
    """One rule alone is a list of one, not of its letters."""
    return (rules,) if isinstance(rules, str) else tuple(rules)


def find_settings(folder: Path) -> RuleSettings:
    """The settings that hold in ``folder``.

    Raises:
        ConfigError: the file cannot be read, or something in it is not a setting.
    """
    folder = folder.resolve()
    for place in (folder, *folder.parents):
        if (place / OWN_FILE).is_file():
            return read_settings(place / OWN_FILE)
        shared = place / SHARED_FILE
        if shared.is_file() and (values := _tool(_parsed(shared))) is not None:
            return _settings(shared, values)
    return RuleSettings()


def read_settings(path: Path) -> RuleSettings:
    """The settings in that file; in a ``pyproject.toml``, those under ``[tool.saldiag]``.

    Raises:
        ConfigError: the file cannot be read, or something in it is not a setting.
    """
    values = _parsed(path)
    if path.name == SHARED_FILE:
        values = _tool(values) or {}
    return _settings(path, values)


def _settings(path: Path, values: dict[str, Any]) -> RuleSettings:
    for key in values:
        if key not in KEYS:
            raise ConfigError(f"{path}: unknown key {key!r}: {suggestion(key, KEYS)}")
    return RuleSettings(
        _names(path, "select", values["select"]) if "select" in values else None,
        _names(path, "ignore", values.get("ignore", [])),
        _thresholds(path, values.get("thresholds", {})),
        str(path),
    )


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{path}: not valid TOML ({error})") from error


def _tool(values: dict[str, Any]) -> dict[str, Any] | None:
    tools = values.get("tool")
    found = tools.get("saldiag") if isinstance(tools, dict) else None
    return found if isinstance(found, dict) else None


def _names(path: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f'{path}: {key} is a list of rules, such as ["SD101"], not {value!r}')
    return tuple(value)


def _thresholds(path: Path, value: Any) -> dict[str, dict[str, float]]:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: thresholds is a table by rule, not {value!r}")
    return {rule: _numbers(path, rule, limits) for rule, limits in value.items()}


def _numbers(path: Path, rule: str, limits: Any) -> dict[str, float]:
    if not isinstance(limits, dict):
        raise ConfigError(f"{path}: thresholds.{rule} is a table of numbers, not {limits!r}")
    found = {name: _number(limit) for name, limit in limits.items()}
    for name, limit in found.items():
        if not math.isfinite(limit):
            value = limits[name]
            raise ConfigError(f"{path}: thresholds.{rule}.{name} is a number, not {value!r}")
    return found


def _number(value: Any) -> float:
    """A finite number as it is, anything else as nan."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
