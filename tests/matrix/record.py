"""The totals that the matrix last came to: kept in a file, shown in the README, never to fall."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from matrix.run import Result, Totals, table, totals

RECORD = Path(__file__).with_name("recorded.json")
TABLE = Path(__file__).with_name("table.txt")
README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- matrix: begin -->", "<!-- matrix: end -->"


def recorded() -> Totals:
    """The totals in the file."""
    return Totals(**json.loads(RECORD.read_text(encoding="utf-8")))


def record(results: Sequence[Result]) -> None:
    """Write totals, table and the README's paragraph."""
    sums = totals(results)
    RECORD.write_text(json.dumps(asdict(sums), indent=1) + "\n", encoding="utf-8")
    TABLE.write_text(table(results) + "\n", encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    README.write_text(with_paragraph(text, sums), encoding="utf-8")


def with_paragraph(readme: str, sums: Totals) -> str:
    """The README with the paragraph of these totals between its two marks."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{paragraph(sums)}\n{END}{after}"


def paragraph(sums: Totals) -> str:
    """The totals as a table in markdown."""
    return "\n".join(
        (
            "| programs | what saldiag said |",
            "|---|---|",
            f"| {sums.faults} with one fault each | root cause in {_of(sums.first, sums.faults)}, "
            f"among the findings in {_of(sums.among, sums.faults)} |",
            f"| {sums.wells} with nothing wrong | an error in {_of(sums.with_error, sums.wells)}, "
            f"a warning in {_of(sums.with_warning, sums.wells)} |",
        )
    )


def _of(part: int, whole: int) -> str:
    return f"{part} ({part / max(whole, 1):.0%})"


def worse(now: Totals, before: Totals) -> list[str]:
    """In what ``now`` falls behind ``before``, by share; nothing where it does not."""
    shares = [(name, 1, share(now), share(before)) for name, share in _GOOD.items()]
    shares += [(name, -1, share(now), share(before)) for name, share in _BAD.items()]
    found = [f"{name} {new:.1%}" for name, sign, new, old in shares if sign * new < sign * old]
    return [*found, f"could not be run {now.failed}"] if now.failed else found


_GOOD: dict[str, Callable[[Totals], float]] = {
    "first": lambda sums: sums.first / max(sums.faults, 1),
    "among": lambda sums: sums.among / max(sums.faults, 1),
}
_BAD: dict[str, Callable[[Totals], float]] = {
    "with_error": lambda sums: sums.with_error / max(sums.wells, 1),
    "with_warning": lambda sums: sums.with_warning / max(sums.wells, 1),
}
