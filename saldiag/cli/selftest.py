"""``saldiag selftest``: run the matrix here, print and write the table, compare with the record."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from saldiag.app.session.flags import flag
from saldiag.app.session.options import prepare_environment
from saldiag.cli.invocation import invocation
from saldiag.cli.options import debug_option, format_option, options_for, out_option
from saldiag.core.files.jsonio import dumps, write_json, write_text
from saldiag.core.files.run import Run, RunInfo, utc_now
from saldiag.core.findings.diagnosis import SCHEMA_VERSION
from saldiag.core.interrupts import until_interrupted
from saldiag.selftest.cases import REPORTED_SEED, TUNING_SEED

if TYPE_CHECKING:
    from saldiag.selftest.outcome import Result, Totals
    from saldiag.selftest.record import Record


@dataclass(frozen=True)
class SelftestOptions:
    """Options of ``saldiag selftest``."""

    parts: tuple[str, ...] = ()
    """Parts of names of the programs to run; empty for all."""
    sample: str | None = flag(
        "Run one program in eight, chosen by the hash of KEY, such as the id of a commit.",
        default=None,
        metavar="KEY",
    )
    """Key that chooses a sample of the programs; None to run all."""
    seed: int = flag(
        f"Seed of data and weights. Thresholds were tuned on seed {TUNING_SEED};"
        f" {REPORTED_SEED} is held out.",
        default=REPORTED_SEED,
        minimum=0,
        maximum=2**32 - 1,
    )
    """Seed of data and weights."""
    jobs: int = flag(
        "Number of worker processes.",
        default=(os.cpu_count() or 1) + 1,
        shown_default="one more than there are processors",
        minimum=1,
    )
    """Worker processes."""
    out: Path | None = None
    """Run directory; None for a new one in ``saldiag-runs``."""
    output_format: str = "text"
    """``text`` or ``json``."""
    command_line: tuple[str, ...] = ()
    """Arguments as typed, for ``run.json``."""
    debug: bool = False
    """Whether worker processes show their output."""


def run_selftest(options: SelftestOptions) -> int:
    """Run the chosen programs; returns the exit code.

    Raises:
        SaldiagError: no program has such a name, or the run directory cannot be written.
    """
    from rich.console import Console

    from saldiag.app.session.session import package_versions
    from saldiag.selftest.cases import matrix_cases, sample_cases
    from saldiag.selftest.record import read_record, worse_cases
    from saldiag.selftest.run import run

    prepare_environment()
    chosen = matrix_cases(options.seed, options.parts)
    if options.sample is not None:
        chosen = sample_cases(chosen, options.sample)
    directory = Run.create("selftest", options.out)
    info = RunInfo(
        command=("saldiag", *(options.command_line or ("selftest",))),
        versions=package_versions(),
        seed=options.seed,
        config={"parts": options.parts, "sample": options.sample, "jobs": options.jobs},
        started=utc_now(),
    )
    directory.write_info(info)
    results: list[Result] = []
    begun = monotonic()
    record = read_record()
    with until_interrupted(), _progress(len(chosen)) as seen:
        for result in run(chosen, options.jobs, debug=options.debug):
            results.append(result)
            seen(result)
        # Threads add up in any order: what is at a threshold can fall to either side of it by
        # chance, and a program that comes out worse than on record has a second try.
        second = [result.case for result in worse_cases(results, record)]
        again = {result.case: result for result in run(second, options.jobs, debug=options.debug)}
        results = [again.get(result.case, result) for result in results]
    whole = len(results) == len(chosen)
    directory.write_info(replace(info, status="finished" if whole else "interrupted"))
    report = SelftestReport(options, tuple(results), whole, round(monotonic() - begun, 1), record)
    write_text(directory.path / "selftest.txt", report.text() + "\n")
    write_json(directory.path / "selftest.json", report.plain())
    sys.stdout.write(
        (dumps(report.plain()) if options.output_format == "json" else report.text()) + "\n"
    )
    Console(stderr=True).print(
        f"written to {directory.path}", markup=False, highlight=False, soft_wrap=True
    )
    return report.exit_code


@dataclass(frozen=True)
class SelftestReport:
    """The results of a selftest, compared with the record."""

    options: SelftestOptions
    """What was run."""
    results: tuple[Result, ...]
    """One result per program."""
    whole: bool
    """Whether all chosen programs were run; False after Ctrl-C."""
    seconds: float
    """Duration."""
    record: Record
    """The results on record."""

    @property
    def totals(self) -> Totals:
        """The sums over all results."""
        from saldiag.selftest.outcome import count_results

        return count_results(self.results)

    @cached_property
    def fallen(self) -> list[str]:
        """What is worse than on record, one line each."""
        from saldiag.selftest.record import worse_totals

        return worse_totals(self.results, self.record)

    @property
    def exit_code(self) -> int:
        """1 if a total fell below the one on record, 2 if it was interrupted."""
        from saldiag.app.session.session import EXIT_FAILED, EXIT_FINDINGS, EXIT_OK

        if not self.whole:
            return EXIT_FAILED
        return EXIT_FINDINGS if self.fallen else EXIT_OK

    def text(self) -> str:
        """The table, and how it compares with the record."""
        from saldiag.selftest.table import as_text

        lines = [as_text(self.results, self.totals)]
        lines += [f"WORSE    {line}" for line in self.fallen]
        if not self.whole:
            lines.append("interrupted: these are the programs that were run")
        lines.append(
            f"{len(self.results)} programs, seed {self.options.seed}, {self.seconds:.0f} s"
        )
        return "\n".join(lines)

    def plain(self) -> dict[str, Any]:
        """Everything, for scripts."""
        return {
            "schema_version": SCHEMA_VERSION,
            "seed": self.options.seed,
            "parts": self.options.parts,
            "sample": self.options.sample,
            "whole": self.whole,
            "seconds": self.seconds,
            "totals": asdict(self.totals),
            "worse": self.fallen,
            "results": [_row(result) for result in self.results],
        }


def _row(result: Result) -> dict[str, Any]:
    return {
        "name": result.case.name,
        "outcome": result.outcome,
        **{key: value for key, value in asdict(result).items() if key != "case"},
    }


TOLD_EVERY = 50
"""Programs between two lines of progress where there is no terminal."""


@contextmanager
def _progress(count: int) -> Iterator[Callable[[Result], None]]:
    """A bar on a terminal, a line now and then elsewhere; yields what to call with each result."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("{task.description}", markup=False))  # fmt: skip
    shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("", total=count)
        done = 0

        def seen(result: Result) -> None:
            nonlocal done
            done += 1
            bar.update(task, advance=1, description=result.case.name)
            if not shown and done % TOLD_EVERY == 0:
                console.print(f"{done} of {count} programs", highlight=False)

        yield seen


@click.command()
@click.argument("parts", nargs=-1, metavar="[PART]...")
@options_for(SelftestOptions, "sample", "seed", "jobs")
@out_option
@format_option
@debug_option
def selftest(**parameters: Any) -> int:
    """Run saldiag on programs with a known fault, and on healthy ones.

    PARTs of names select programs (healthy, softmax, lstm). Exit code 1 if a fault is missed or a
    false alarm raised that is not on record.
    """
    shared = invocation()
    return run_selftest(
        SelftestOptions(command_line=shared.command_line, debug=shared.debug, **parameters)
    )


COMMANDS: tuple[click.Command, ...] = (selftest,)
