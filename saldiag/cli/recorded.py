"""Commands about recorded runs and about the rules. None needs TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from saldiag.app.session.settings import RuleChoice
from saldiag.cli.options import (
    check_format_option,
    compare_options,
    debug_option,
    fail_option,
    format_option,
    rule_options,
)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--rules",
    "again",
    is_flag=True,
    help="Judge again, by the current --select, --ignore and settings file.",
)
@rule_options
@check_format_option
@fail_option
@debug_option
def report(run: Path, again: bool, output_format: str, fail_on: Any, **rules: Any) -> int:
    """Write and print the report of RUN again, without TensorFlow."""
    from saldiag.app.commands.report import report_again

    if any(rules.values()) and not again:
        raise click.UsageError("--select, --ignore and --config need --rules")
    return report_again(
        run, output_format, fail_on, RuleChoice.from_options(**rules) if again else None
    )


@click.command("compare")
@click.argument(
    "runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN RUN..."
)  # fmt: skip
@compare_options
@format_option
@debug_option
def compare_command(**options: Any) -> int:
    """Show what changed between runs, without TensorFlow.

    The first run is the base. The others are compared with it: settings, network, findings, curves
    and code (the program's own files, as they were when it ran).
    """
    from saldiag.app.commands.compare import compare
    from saldiag.app.session.command_options import CompareOptions

    if len(options["runs"]) < 2:
        raise click.UsageError("compare needs at least two runs")
    return compare(CompareOptions(**options))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--diff", is_flag=True, help="Print a unified diff on stdout (default).")
@click.option(
    "--write",
    is_flag=True,
    help="Apply the fixes and keep each original as FILE.bak; refused if a file changed since the"
    " run.",
)
@click.option("--rule", metavar="SDnnn", help="Fix only findings of this rule, including notes.")
@debug_option
def fix(run: Path, diff: bool, write: bool, rule: str | None) -> int:
    """Fix what RUN found where the edit is certain, without TensorFlow.

    Certain edits change one argument of a layer, of compile(), or of its loss or optimizer. All
    other findings are listed on stderr. The diff is for `git apply` and `patch -p1`.

    Exit codes: 0 nothing is left to fix, 1 there is a diff or something to fix by hand, 2 RUN
    cannot be read or a file has changed since.
    """
    from saldiag.app.commands.fix import fix as apply_fixes

    if diff and write:
        raise click.UsageError("--diff or --write, not both")
    return apply_fixes(run, write=write, rule=rule)


@click.command()
@click.argument("rule")
@format_option
@debug_option
def explain(rule: str, output_format: str) -> int:
    """Explain RULE (SDnnn or its name)."""
    from saldiag.app.commands.report import explain_rule

    return explain_rule(rule, output_format)


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD]...")
@rule_options
@format_option
@debug_option
def rules(words: tuple[str, ...], output_format: str, **rules: Any) -> int:
    """List the rules; WORDs select some (sd2, gradients, softmax, error)."""
    from saldiag.app.commands.rules import list_rules

    return list_rules(words, output_format, RuleChoice.from_options(**rules))


COMMANDS: tuple[click.Command, ...] = (report, compare_command, fix, explain, rules)
