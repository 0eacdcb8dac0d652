"""What has to be known of the runs before they are compared: why something is not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from saldiag.core.comparison.recorded import Recorded
from saldiag.core.measurement import OverfitHistory, Wiring
from saldiag.core.wording import printable

STATUS = {
    "running": "it is still running, or was killed",
    "interrupted": "it was interrupted",
    "failed": "it ended in an error",
}


def notes_on(runs: Sequence[Recorded]) -> Iterator[str]:
    """One line for each thing that is not as it should be."""
    for place, run in enumerate(runs):
        for line in (*_of_run(run), *_twice(run, runs[:place])):
            yield printable(f"{run.name}: {line}")
    yield from _errors(runs)


def _of_run(run: Recorded) -> Iterator[str]:
    why = STATUS.get(run.info.status)
    if run.diagnosis is None:
        yield f"{why or 'it has no diagnosis.json'}: it was not judged, its findings are not known"
    elif why:
        yield f"{why}, so it may have measured less"
    if run.wiring is None:
        yield f"its network is not known ({run.measured.reason(Wiring)}): none is compared"
    if run.sources is None:
        yield "its source files were not recorded: code is not compared with it"
    elif run.sources.left_out:
        yield f"{run.sources.left_out:,} more of its source files were not recorded"
    if run.models:
        yield _models(run)


def _models(run: Recorded) -> str:
    one = len(run.models) == 1
    named = ", ".join(run.models[:3]) + (", …" if len(run.models) > 3 else "")
    return (
        f"its program trained {len(run.models) + 1} models, and the first is compared;"
        f" the other{' is' if one else 's are'} in its director{'y' if one else 'ies'} {named}"
    )


def _twice(run: Recorded, before: Sequence[Recorded]) -> Iterator[str]:
    for other in before:
        if run.path.resolve() == other.path.resolve():
            yield f"it is the same run as {other.name}"
            return


def _errors(runs: Sequence[Recorded]) -> Iterator[str]:
    tests = [run.measured.get(OverfitHistory) for run in runs]
    metrics = sorted({test.metric for test in tests if test is not None})
    if len(metrics) > 1:
        told = printable(" and ".join(metrics))
        yield f"errors are {told}: their heights are not comparable, only whether they fall"
