"""Commands of recorded runs, and of the rules. None needs TensorFlow."""

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
    "--rules", "again", is_flag=True,
    help="Let the rules judge anew, as --select, --ignore and the settings now say.",
)  # fmt: skip
@rule_options
@check_format_option
@fail_option
@debug_option
def report(run: Path, again: bool, output_format: str, fail_on: Any, **rules: Any) -> int:
    """Draw the report of RUN again; needs no TensorFlow."""
    from saldiag.app.commands.report import report_again

    if any(rules.values()) and not again:
        raise click.UsageError("--select, --ignore and --config need --rules")
    return report_again(run, output_format, fail_on, RuleChoice.of(**rules) if again else None)


@click.command("compare")
@click.argument(
    "runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN RUN..."
)  # fmt: skip
@compare_options
@format_option
@debug_option
def compare_command(**options: Any) -> int:
    """Tell what changed between runs; needs no TensorFlow.

    The first run directory is the base: settings, network, findings, curves and code (the program's
    own files, as they were when it ran) of the others are compared with it.
    """
    from saldiag.app.commands.compare import CompareOptions, compare

    if len(options["runs"]) < 2:
        raise click.UsageError("compare needs two runs or more")
    return compare(CompareOptions(**options))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--diff", is_flag=True, help="Print a unified diff on stdout: the default.")
@click.option(
    "--write", is_flag=True,
    help="Apply it; each old file is kept as FILE.bak. Never if a file changed since the run.",
)  # fmt: skip
@click.option("--rule", metavar="SDnnn", help="Findings of this rule alone, remarks too.")
@debug_option
def fix(run: Path, diff: bool, write: bool, rule: str | None) -> int:
    """Mend what RUN found, where the edit is certain; needs no TensorFlow.

    That is an argument of a layer, of compile, or of its loss or optimizer. All else is told on
    stderr. The diff is for `git apply` and `patch -p1`.

    Exit codes: 0 nothing is left to mend, 1 there is a diff or something to mend by hand, 2 RUN
    cannot be read or a file is not what it was.
    """
    from saldiag.app.commands.fix import fix as mend

    if diff and write:
        raise click.UsageError("--diff or --write, not both")
    return mend(run, write=write, rule=rule)


@click.command()
@click.argument("rule")
@format_option
@debug_option
def explain(rule: str, output_format: str) -> int:
    """Explain RULE (SDnnn, or its name)."""
    from saldiag.app.commands.report import explain_rule

    return explain_rule(rule, output_format)


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD]...")
@rule_options
@format_option
@debug_option
def rules(words: tuple[str, ...], output_format: str, **rules: Any) -> int:
    """List the rules; WORDs narrow it (sd2, gradients, softmax, error)."""
    from saldiag.app.commands.rules import list_rules

    return list_rules(words, output_format, RuleChoice.of(**rules))


COMMANDS: tuple[click.Command, ...] = (report, compare_command, fix, explain, rules)
