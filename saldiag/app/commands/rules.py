"""``saldiag rules``: lists the rules, and whether the settings turn them off."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from saldiag.app.session.settings import RuleChoice, rule_settings
from saldiag.core.files.jsonio import dumps
from saldiag.core.findings.diagnosis import SCHEMA_VERSION
from saldiag.core.wording import counted
from saldiag.rules.engine.catalogue import Entry, catalogue, matching
from saldiag_reports.formats.printed.text import SEVERITY_STYLES


def list_rules(words: Sequence[str], output_format: str, choice: RuleChoice) -> int:
    """List the rules that match all words; returns the exit code.

    Args:
        words: parts of a code, family, name, severity or title; empty for all rules.
        output_format: ``text`` or ``json``.
        choice: the rule options of the command line; rules that they leave out are listed as off.

    Raises:
        ConfigError: the settings file is not valid.
        SaldiagError: the command line names a rule that does not exist.
    """
    settings = rule_settings(choice)
    found = matching(catalogue(settings), words)
    if output_format == "json":
        sys.stdout.write(dumps({"schema_version": SCHEMA_VERSION, "rules": found}) + "\n")
        return 0
    console = Console(highlight=False)
    if found:
        console.print(_rules_table(found))
    console.print(_summary_line(found, settings.file), style="dim", markup=False, soft_wrap=True)
    return 0


def _rules_table(entries: Sequence[Entry]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("Rule", "Severity", "What it finds"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "What it finds")
    for entry in entries:
        style = SEVERITY_STYLES[entry.severity] if entry.on else "dim"
        severity = Text(entry.severity if entry.on else "off", style=style)
        table.add_row(entry.code, severity, Text.assemble((entry.name, "bold"), f"\n{entry.title}"))
    return table


def _summary_line(entries: Sequence[Entry], file: str | None) -> str:
    on = sum(entry.on for entry in entries)
    by = f" by {file}" if file else ""
    return f"{counted(len(entries), 'rule')}, {on} on{by}; saldiag explain SDnnn describes one"
