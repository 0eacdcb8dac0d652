"""Which rules judge, with which thresholds: from the command line, else from the settings file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from saldiag.app.session.flags import flag
from saldiag.core.config import RuleSettings, find_settings, read_settings
from saldiag.core.errors import ConfigError, SaldiagError


@dataclass(frozen=True)
class RuleChoice:
    """What the command line says about rules; ``None`` if it says nothing."""

    select: tuple[str, ...] | None = flag(
        "Rules that judge: codes, prefixes of codes or names, separated by commas.",
        default=None,
        metavar="RULES",
    )
    """Rules that judge, in place of the settings file's ``select``."""
    ignore: tuple[str, ...] | None = flag(
        "Rules that do not judge, likewise.", default=None, metavar="RULES"
    )
    """Rules that do not judge, in place of the settings file's ``ignore``."""
    config: Path | None = flag(
        "Settings file. The default is the nearest saldiag.toml or pyproject.toml.",
        default=None,
        metavar="FILE",
    )
    """The settings file; None for the nearest one."""

    @classmethod
    def of(cls, select: Sequence[str], ignore: Sequence[str], config: Path | None) -> RuleChoice:
        """From options that may be repeated, each a list separated by commas."""
        return cls(_listed(select), _listed(ignore), config)


def rule_settings(choice: RuleChoice) -> RuleSettings:
    """The settings that hold, checked against the rules there are.

    Raises:
        ConfigError: the file is not there or not valid, or it names what does not exist.
        SaldiagError: the command line names a rule that does not exist.
    """
    path = choice.config
    stored = read_settings(path) if path is not None else find_settings(Path.cwd())
    try:
        _check(stored)
    except SaldiagError as error:
        raise ConfigError(f"{stored.file}: {error}") from error
    chosen = replace(
        stored,
        select=stored.select if choice.select is None else choice.select,
        ignore=stored.ignore if choice.ignore is None else choice.ignore,
    )
    _check(chosen)
    return chosen


def with_rules(config: Mapping[str, Any], settings: RuleSettings) -> dict[str, Any]:
    """A run's recorded configuration with these settings, if there are any."""
    rest = {key: value for key, value in config.items() if key != "rules"}
    return rest if settings == RuleSettings() else {**rest, "rules": asdict(settings)}


def _check(settings: RuleSettings) -> None:
    from saldiag.rules.engine.engine import rules_with_limits

    rules_with_limits(settings.select, settings.ignore, settings.thresholds)


def _listed(values: Sequence[str]) -> tuple[str, ...] | None:
    names = tuple(name.strip() for value in values for name in value.split(",") if name.strip())
    return names if values else None
