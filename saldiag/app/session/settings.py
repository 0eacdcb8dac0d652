"""The rules that judge, with their thresholds, from the command line and the settings file."""

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
    """The rule options of the command line; None for options that were not given."""

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
    def from_options(
        cls, select: Sequence[str], ignore: Sequence[str], config: Path | None
    ) -> RuleChoice:
        """From options that may be repeated, each a list of names separated by commas."""
        return cls(_split_names(select), _split_names(ignore), config)


def rule_settings(choice: RuleChoice) -> RuleSettings:
    """The settings file with the command line's options on top, checked against the known rules.

    Raises:
        ConfigError: the file is missing or not valid, or names a rule or threshold that does not
            exist.
        SaldiagError: the command line names a rule that does not exist.
    """
    path = choice.config
    stored = read_settings(path) if path is not None else find_settings(Path.cwd())
    try:
        _check_rules_exist(stored)
    except SaldiagError as error:
        raise ConfigError(f"{stored.file}: {error}") from error
    chosen = replace(
        stored,
        select=stored.select if choice.select is None else choice.select,
        ignore=stored.ignore if choice.ignore is None else choice.ignore,
    )
    _check_rules_exist(chosen)
    return chosen


def config_with_rules(config: Mapping[str, Any], settings: RuleSettings) -> dict[str, Any]:
    """A run's recorded options with these rule settings; without ``rules`` if all are default."""
    rest = {key: value for key, value in config.items() if key != "rules"}
    return rest if settings == RuleSettings() else {**rest, "rules": asdict(settings)}


def _check_rules_exist(settings: RuleSettings) -> None:
    from saldiag.rules.engine.engine import rules_with_limits

    rules_with_limits(settings.select, settings.ignore, settings.thresholds)


def _split_names(values: Sequence[str]) -> tuple[str, ...] | None:
    names = tuple(name.strip() for value in values for name in value.split(",") if name.strip())
    return names if values else None
