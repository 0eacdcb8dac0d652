"""Runs the matrix: every fault and its twin, every healthy program; prints and writes the table."""

from __future__ import annotations

import importlib
import json
import pkgutil
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

TUNING, REPORTED = 0, 2
"""Seeds: thresholds are chosen on the first, results are told of the second."""

RENEWED_AFTER = 30
"""Cases that one process runs."""


@dataclass(frozen=True)
class Case:
    """One program to run; ``variant`` is ``broken``, ``fixed`` or ``healthy``."""

    module: str
    variant: str
    form: str
    seed: int

    @property
    def name(self) -> str:
        """Short, and unique but for the seed."""
        return f"{self.module.rsplit('.', 1)[-1]}/{self.form}/{self.variant}"


@dataclass(frozen=True)
class Result:
    """What the rules said of a case; findings as (code, severity, message)."""

    case: Case
    expected: tuple[str, ...]
    root: str | None
    findings: tuple[tuple[str, str, str], ...]
    verdict: str
    seconds: float
    failed: str | None = None

    @property
    def first(self) -> bool:
        """Whether the seeded fault is the root cause."""
        return self.root in self.expected

    @property
    def among(self) -> bool:
        """Whether the seeded fault is among the findings."""
        return any(code in self.expected for code, _, _ in self.findings)

    @property
    def alarms(self) -> tuple[tuple[str, str, str], ...]:
        """Findings on a program that nothing is wrong with; notes are none."""
        return tuple(found for found in self.findings if found[1] != "info")


def cases(seeds: Sequence[int], only: str = "") -> list[Case]:
    """All cases for these seeds, or those whose name holds ``only``."""
    found = [case for seed in seeds for case in (*_faults(seed), *_healthy(seed))]
    return [case for case in found if only in case.name]


def _faults(seed: int) -> Iterable[Case]:
    for module in _modules("saldiag.selftest.faults"):
        for form in module.FORMS:
            for variant in ("broken", "fixed"):
                yield Case(module.__name__, variant, form, seed)


def _healthy(seed: int) -> Iterable[Case]:
    for module in _modules("saldiag.selftest.healthy"):
        for program in module.PROGRAMS:
            yield Case(module.__name__, "healthy", program.__name__, seed)


def _modules(package: str) -> list[Any]:
    folder = importlib.import_module(package)
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    return [importlib.import_module(f"{package}.{name}") for name in names]


def run_case(case: Case) -> Result:
    """Build the program, examine it and judge it; an error is a result as well."""
    import keras

    from saldiag.app.judging import judge
    from saldiag.app.load import Subject
    from saldiag.app.model import examine_model
    from saldiag.subject.sources import recording_sources
    from saldiag.subject.warning_log import recording_warnings

    begun = time.monotonic()
    module = importlib.import_module(case.module)
    expected = (module.EXPECT,) if isinstance(getattr(module, "EXPECT", ()), str) else ()
    expected = expected or tuple(getattr(module, "EXPECT", ()))
    keras.backend.clear_session()
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(case.seed)
    try:
        with warnings.catch_warnings(), recording_warnings() as recorder:
            with recording_sources() as lines:
                program = _program(module, case)
            subject = Subject(program.model, lines.by_id(), expected_range=program.expected_range)
            measured = examine_model(
                subject, program.batches, plan=program.plan, max_steps=program.steps
            )
        diagnosis = judge(measured.with_(recorder.log()))
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"
        return Result(case, expected, None, (), "", time.monotonic() - begun, failed)
    finally:
        keras.config.set_dtype_policy("float32")
    broke = [s for s in diagnosis.skipped if s.reason.startswith("error in rule")]
    return Result(
        case,
        expected,
        diagnosis.root_cause.rule if diagnosis.root_cause else None,
        tuple((f.rule, f.severity, f.message) for f in diagnosis.findings),
        diagnosis.verdict,
        time.monotonic() - begun,
        f"{broke[0].rule}: {broke[0].reason}" if broke else None,
    )


def _program(module: Any, case: Case) -> Any:
    if case.variant == "healthy":
        makers = {program.__name__: program for program in module.PROGRAMS}
        return makers[case.form](case.seed)
    return getattr(module, case.variant)(case.form, case.seed)


def run(chosen: Sequence[Case], jobs: int = 2) -> list[Result]:
    """Run cases in worker processes; results in the order of the cases."""
    if jobs == 1:
        return [run_case(case) for case in chosen]
    # Processes are renewed now and then, for TensorFlow never gives memory back. The pool's own
    # max_tasks_per_child can hang (CPython issue 115634).
    results: list[Result] = []
    for start in range(0, len(chosen), jobs * RENEWED_AFTER):
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            results += pool.map(run_case, chosen[start : start + jobs * RENEWED_AFTER])
    return results


@dataclass(frozen=True)
class Totals:
    """Counts over results; an alarm is a warning or an error on a program that is well."""

    faults: int
    first: int
    among: int
    wells: int
    with_error: int
    with_warning: int
    failed: int


def totals(results: Sequence[Result]) -> Totals:
    """Add up."""
    broken = [r for r in results if r.case.variant == "broken"]
    well = [r for r in results if r.case.variant != "broken"]
    return Totals(
        faults=len(broken),
        first=sum(r.first for r in broken),
        among=sum(r.among for r in broken),
        wells=len(well),
        with_error=sum(any(s == "error" for _, s, _ in r.findings) for r in well),
        with_warning=sum(any(s == "warning" for _, s, _ in r.findings) for r in well),
        failed=sum(r.failed is not None for r in results),
    )


def table(results: Sequence[Result]) -> str:
    """What went wrong, a line each, and the totals."""
    lines = []
    for result in results:
        seen = ", ".join(f"{code} {severity}" for code, severity, _ in result.findings)
        if result.failed:
            lines.append(f"FAILED  {result.case.name}: {result.failed}")
        elif result.case.variant == "broken" and not result.first:
            how = "SECOND" if result.among else "MISSED"
            wanted = " or ".join(result.expected)
            lines.append(f"{how}  {result.case.name}: {wanted} wanted; {seen or 'nothing'} found")
        elif result.case.variant != "broken" and result.alarms:
            said = "; ".join(f"{code}: {message}" for code, _, message in result.alarms)
            lines.append(f"ALARM   {result.case.name}: {said}")
    sums = totals(results)
    lines.append(
        f"faults {sums.faults}: first {sums.first}, among {sums.among}, "
        f"missed {sums.faults - sums.among}; programs that are well {sums.wells}: "
        f"with an error {sums.with_error}, with a warning {sums.with_warning}; "
        f"could not be run {sums.failed}"
    )
    return "\n".join(lines)


def as_json(results: Sequence[Result]) -> str:
    """Everything, for scripts."""
    whole = {"totals": asdict(totals(results)), "results": [asdict(r) for r in results]}
    return json.dumps(whole, indent=1, allow_nan=False)
