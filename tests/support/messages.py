"""Writes ``tests/messages.txt``: every text that a user of saldiag can see.

``make messages`` runs the fast tests while ``tests.support.recording`` notes the values that
messages are filled with, and writes the file. With ``--cheap`` no test runs, with ``--slow`` the
slow ones run too. An example that is in the file stays there while its template is in the source,
unless it quotes another text that is gone: the file changes only where a text does, and what a slow
test once reached stays filled in. ``tests/test_messages.py`` fails where the file is not what
``--cheap`` would write.

A placeholder's value is enclosed in « and ». A text that no test has reached has its expressions in
braces, and is listed at the end.
"""

from __future__ import annotations

import argparse
import html
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import click

from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.measurement import Measurements, OverfitHistory, ProgramError
from saldiag.rules.engine.engine import diagnose
from saldiag.rules.engine.explain import explain
from saldiag.rules.engine.registry import all_rules
from saldiag.rules.verdicts.overfit import verdict_of
from tests import faults
from tests.support import recording
from tests.support.recording import (
    CLOSE,
    DIRECTORY,
    MESSAGES,
    OPEN,
    ROOT,
    as_line,
    as_text,
    examples,
    filled,
    literals_of,
    preference,
    records,
    tidied,
)
from tests.support.source_texts import CRASHES, GROUPS, RULES, SourceText, texts_of_package
from tests.support.variants import VARIANTS

NOT_REACHED = "Not reached by a test"
_RULE_HEADING = re.compile(r"^(SD\d{3}) [a-z0-9-]+ \((?:error|warning|info)\)$")
_WHOLE = re.compile(r"^  (message|fix): (.*)$")
_TEST_OPTIONS = ("-q", "-p", "no:cacheprovider", "-p", "tests.support.recording")


class Whole(NamedTuple):
    """A finding's message and fix."""

    message: str
    fix: str


@dataclass
class Recorded:
    """What tests have shown.

    Attributes:
        texts: one example of each template, by its key.
        findings: whole findings by the code of their rule, the best first.
        lines: the lines of the file that they come from.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    findings: Mapping[str, Sequence[Whole]] = field(default_factory=dict)
    lines: Sequence[str] = ()


# --- what has been recorded -----------------------------------------------------------------------


def from_file(written: str) -> Recorded:
    """The examples in a ``messages.txt``."""
    lines = written.splitlines()
    findings: dict[str, list[Whole]] = defaultdict(list)
    code, message = "", ""
    for line in lines:
        if heading := _RULE_HEADING.match(line):
            code = heading[1]
        elif whole := _WHOLE.match(line):
            if whole[1] == "message":
                message = whole[2]
            else:
                findings[code].append(Whole(message, whole[2]))
    return Recorded(examples(lines), findings, lines)


def with_records(earlier: Recorded, directory: Path) -> Recorded:
    """The examples of an ``earlier`` file, and those of a test run for other texts."""
    texts: dict[str, list[str]] = defaultdict(list)
    findings: dict[str, list[Whole]] = defaultdict(list)
    for record in records(directory):
        if "key" in record:
            texts[record["key"]].append(record["text"])
        else:
            findings[record["rule"]].append(Whole(record["message"], record["fix"]))
    best = {key: min(found, key=preference) for key, found in texts.items()}
    ranked = {code: sorted(set(found), key=_rank) for code, found in findings.items()}
    codes = {*ranked, *earlier.findings}
    return Recorded(
        best | dict(earlier.texts),
        {code: [*earlier.findings.get(code, ()), *ranked.get(code, ())] for code in codes},
    )


def _rank(whole: Whole) -> tuple[Any, ...]:
    return preference("\n".join(whole))


def without_stale(recorded: Recorded, draft: str) -> Recorded:
    """Without the examples that quote a line of the file which is not in the ``draft`` any more."""
    quotes = [
        quote
        for line in set(recorded.lines) - set(draft.splitlines())
        if len(quote := re.sub(f"[{OPEN}{CLOSE}]", "", as_text(line))) >= SHORTEST_QUOTE
    ]

    def is_fresh(*parts: str) -> bool:
        return not any(quote in part for part in parts for quote in quotes)

    return replace(
        recorded,
        texts={key: t for key, t in recorded.texts.items() if is_fresh(*_VALUE.findall(t))},
        findings={c: [w for w in found if is_fresh(*w)] for c, found in recorded.findings.items()},
    )


SHORTEST_QUOTE = 20
"""Characters from which on a text inside another one is a quotation, not a coincidence."""

_VALUE = re.compile(f"{OPEN}([^{CLOSE}]*){CLOSE}")


# --- the file -------------------------------------------------------------------------------------


def written(recorded: Recorded, root: Path = ROOT) -> str:
    """The whole file, from the sources below ``root`` and what was recorded."""
    helps = list(_helps())
    shown_in_help = " ".join(" ".join(text for _, text in helps).split())
    texts = [
        text
        for text in texts_of_package(root)
        if OPEN in text.text or " ".join(text.text.split()) not in shown_in_help
    ]
    judged = _judged_faults()
    shown = {
        **_on_pages(texts, root), **_skipping(texts, judged.reasons), **_on_crashes(texts),
    }  # fmt: skip
    recorded = replace(recorded, texts={**recorded.texts, **shown})
    draft = _rendered(helps, texts, judged, recorded)
    return _rendered(helps, texts, judged, without_stale(recorded, draft))


def _rendered(
    helps: Sequence[tuple[str, str]],
    texts: Sequence[SourceText],
    judged: Judged,
    recorded: Recorded,
) -> str:
    groups = {group: _unique(t for t in texts if t.group == group) for group in GROUPS}
    unreached: dict[str, list[str]] = {}
    parts = [_heading("Help"), *(f"$ {command} --help\n\n{text}\n" for command, text in helps)]
    for group, found in groups.items():
        if group == RULES:
            parts += [_heading(group), *_rules(found, judged, recorded, unreached)]
        elif found:
            order = (lambda t: t.order) if group == CRASHES else _alphabetical
            lines, missing = _lines(sorted(found, key=order), recorded)
            parts += [_heading(group), "".join(lines)]
            unreached |= {group: missing} if missing else {}
    count = sum(not line.startswith("    or:") for lines in unreached.values() for line in lines)
    parts.append(_heading(f"{NOT_REACHED} ({count})"))
    for group, missing in unreached.items():
        parts.append("".join((f"{group}\n", *(f"  {line}" for line in missing))))
    number = sum(len(found) for found in groups.values())
    return f"{_INTRODUCTION.format(number=number, unreached=count)}\n" + "\n".join(parts)


_INTRODUCTION = """\
Every text that a user of saldiag can see, with the values of one real case.

`make messages` writes this file; tests/test_messages.py fails where a text in the source differs.
«…» encloses a value that the program fills in; "or:" lists words of which it picks one. ⏎ is a line
break, ␣ a space at the end of a part. {number} texts, {unreached} of them not reached by a test.
"""


def _heading(title: str) -> str:
    return f"{title}\n{'=' * len(title)}\n"


def _unique(texts: Iterable[SourceText]) -> list[SourceText]:
    """One text for each template (and rule), with the choices of all that share it."""
    found: dict[tuple[str, str], SourceText] = {}
    for text in texts:
        first = found.setdefault((text.code, text.key), text)
        if set(text.choices) - set(first.choices):
            both = tuple(dict.fromkeys((*first.choices, *text.choices)))
            found[text.code, text.key] = SourceText(**{**vars(first), "choices": both})
    return list(found.values())


def _alphabetical(text: SourceText) -> tuple[str, str]:
    plain = re.sub(r"[^\w ]", "", text.key).strip().casefold()
    return plain, text.key


def _lines(
    texts: Iterable[SourceText], recorded: Recorded, label: str = ""
) -> tuple[list[str], list[str]]:
    """The lines of the texts that are reached, and those of the others."""
    reached: list[str] = []
    missing: list[str] = []
    for text in texts:
        example = recorded.texts.get(text.key)
        lines = missing if example is None and OPEN in text.text else reached
        lines.append(f"{label}{as_line(example or _unfilled(text))}\n")
        if text.choices:
            lines.append(f"    or: {' / '.join(text.choices)}\n")
    return reached, missing


def _unfilled(text: SourceText) -> str:
    """The text with its expressions in braces only."""
    return text.text.replace(OPEN, "").replace(CLOSE, "")


# --- help -----------------------------------------------------------------------------------------


def _helps() -> Iterator[tuple[str, str]]:
    """The name and the help of every command."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    module = importlib.import_module(project["project"]["scripts"]["saldiag"].partition(":")[0])
    group = next(value for value in vars(module).values() if isinstance(value, click.Group))
    yield from _helps_of(group, "saldiag", None)


def _helps_of(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[tuple[str, str]]:
    settings = {**command.context_settings, "terminal_width": 80}
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent, **settings)
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            assert found is not None
            yield from _helps_of(found, f"{name} {sub}", context)


# --- report pages ---------------------------------------------------------------------------------


_NO_TEXT = re.compile(r"<(script|style|svg)\b.*?</\1>", re.DOTALL)


def _on_pages(texts: Iterable[SourceText], root: Path) -> dict[str, str]:
    """Examples of the page templates' texts, from the pages of the reports' gallery."""
    nodes: set[str] = set()
    for path in sorted((root / "reports").rglob("gallery/*.html")):
        page = re.sub(
            r"<(script|style|svg)\b.*?</\1>", "", path.read_text("utf-8"), flags=re.DOTALL
        )
        nodes.update(" ".join(html.unescape(node).split()) for node in re.split(r"<[^>]+>", page))
    shown = (text for text in texts if text.order[0].endswith(".j2") and OPEN in text.text)
    return {text.key: example for text in shown if (example := _filled_from(text, nodes))}


# --- rules ----------------------------------------------------------------------------------------


def _rules(
    texts: Sequence[SourceText],
    judged: Judged,
    recorded: Recorded,
    unreached: dict[str, list[str]],
) -> Iterator[str]:
    """A block for each rule: title, findings that show all of its texts, reasons to skip it."""
    for rule in all_rules():
        own = sorted((t for t in texts if t.code == rule.code), key=lambda t: t.order)
        pool = [*judged.findings.get(rule.code, ()), *recorded.findings.get(rule.code, ())]
        chosen, left = _showing([t for t in own if not t.skips], pool)
        lines = [f"  message: {whole.message}\n  fix: {whole.fix}\n" for whole in chosen]
        parts, missing = _lines(left, recorded, "  part: ")
        skips, never_skips = _lines([t for t in own if t.skips], recorded, "  skipped: ")
        if missing or never_skips:
            unreached[rule.code] = [line.lstrip() for line in (*missing, *never_skips)]
        title = f"{rule.code} {rule.name} ({rule.severity})\n{explain(rule.code).title}\n"
        yield "".join((title, *lines, *parts, *skips))


def _skipping(texts: Iterable[SourceText], reasons: Sequence[str]) -> dict[str, str]:
    """Examples of the reasons to skip a rule."""
    skips = (text for text in texts if text.skips and OPEN in text.text)
    return {text.key: example for text in skips if (example := _filled_from(text, reasons))}


def _showing(
    texts: Sequence[SourceText], pool: Iterable[Whole]
) -> tuple[list[Whole], list[SourceText]]:
    """The first finding and every further one that shows a new text, and the texts left over."""
    left = {text: _pattern(text.text) for text in texts}
    chosen: list[Whole] = []
    for whole in pool:
        new = [t for t, found in left.items() if any(found.search(part) for part in whole)]
        if new or not chosen:
            chosen.append(whole)
        for text in new:
            del left[text]
    return chosen, list(left)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile("(.*?)".join(re.escape(literal) for literal in literals_of(text)))


def _filled_from(text: SourceText, shown: Iterable[str]) -> str:
    """The best of the texts that were shown from this template, with marks; empty if none was."""
    pattern = _pattern(text.text)
    matches = [match for line in set(shown) if (match := pattern.fullmatch(line))]
    literals = literals_of(text.text)
    found = [filled(literals, [tidied(value) for value in match.groups()]) for match in matches]
    return min(found, key=preference, default="")


class Judged(NamedTuple):
    """What rules say of the faults in plain numbers: findings by rule, and reasons to skip one."""

    findings: Mapping[str, Sequence[Whole]]
    reasons: Sequence[str]


def _judged_faults() -> Judged:
    """What rules say of every fault and variant; of its own fault each rule's finding is first."""
    modules = {
        name[:5].upper(): importlib.import_module(f"tests.faults.{name}")
        for _, name, _ in pkgutil.iter_modules(faults.__path__)
        if name.startswith("sd")
    }
    cases = [
        (code, case)
        for code, module in modules.items()
        for name, case in vars(module).items()
        if name.startswith("broken")
    ]
    findings: dict[str, list[Whole]] = defaultdict(list)
    reasons: list[str] = []
    for code, case in [*cases, *(("", variant) for variant in VARIANTS)]:
        diagnosis = _judged(case())
        reasons += [skipped.reason for skipped in diagnosis.skipped]
        for finding in diagnosis.findings:
            whole = Whole(*(text.replace("\n", "⏎") for text in (finding.message, finding.fix)))
            first = finding.rule == code and case.__name__ == "broken"
            findings[finding.rule].insert(0 if first else len(findings[finding.rule]), whole)
    return Judged(findings, reasons)


def _judged(measured: Measurements) -> Diagnosis:
    return diagnose(measured, verdict=verdict_of(measured.get(OverfitHistory))[0])


# --- errors that end a program -------------------------------------------------------------------


def crash_findings() -> dict[str, Whole]:
    """What SD904 says of an error message of each kind, by the kind.

    ``crash_messages.json`` holds the type and the message of real errors: of Keras 3.13 and
    TensorFlow 2.21, raised by the programs in the crash tests.
    """
    messages = json.loads((Path(__file__).parent / "crash_messages.json").read_text("utf-8"))
    found = {}
    for kind, (error, message) in messages.items():
        measured = Measurements.of(ProgramError(error, message))
        (finding,) = diagnose(measured, verdict="not_tested", select=["SD904"]).findings
        assert finding.evidence["kind"] == kind, (kind, finding.evidence)
        found[kind] = Whole(finding.message, finding.fix)
    return found


def _on_crashes(texts: Iterable[SourceText]) -> dict[str, str]:
    """Examples of the texts that explain errors: fixes, and what follows the type of the error."""
    found = crash_findings().values()
    shown = {w.fix for w in found} | {w.message.partition(": ")[2] for w in found}
    crashes = (text for text in texts if text.group == CRASHES and OPEN in text.text)
    return {text.key: example for text in crashes if (example := _filled_from(text, shown))}


# --- the command ----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make messages", description=__doc__)
    parser.add_argument("--cheap", action="store_true", help="run no tests")
    parser.add_argument("--slow", action="store_true", help="run the slow tests too")
    parser.add_argument("--jobs", type=int, default=2, help="processes for the tests")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    before = MESSAGES.read_text(encoding="utf-8") if MESSAGES.is_file() else ""
    recorded = from_file(before)
    if not options.cheap:
        with tempfile.TemporaryDirectory() as directory:
            _run_tests(Path(directory), options.jobs, options.slow)
            recorded = with_records(recorded, Path(directory))
    text = written(recorded)
    MESSAGES.write_text(text, encoding="utf-8")
    click.echo(f"{_result(before, text)} ({time.monotonic() - began:.0f} s)")
    return 0


def _result(before: str, after: str) -> str:
    old, new = before.splitlines(), set(after.splitlines())
    gone = sum(line not in new for line in old)
    come = len(new - set(old))
    name = MESSAGES.relative_to(ROOT)
    return f"{name}: unchanged" if before == after else f"{name}: {come} new lines, {gone} gone"


def _run_tests(directory: Path, jobs: int, slow: bool) -> None:
    """Run the tests with recording; failures are shown and do not stop the file."""
    (directory / "sitecustomize.py").write_text(_SITE.format(path=recording.__file__))
    folders = (directory, ROOT, ROOT / "probes", ROOT / "reports")
    environment = {
        **os.environ,
        DIRECTORY: str(directory),
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
    }
    parallel = ("-n", str(jobs), "--dist", "loadfile", "--no-loadscope-reorder")
    command = [sys.executable, "-m", "pytest", *_TEST_OPTIONS, *parallel]
    command += [] if slow else ["-m", "not slow"]
    command += ["-k", "not test_the_file_is_up_to_date"]
    subprocess.run(command, cwd=ROOT, env=environment, check=False)


# Python imports `sitecustomize` at its start: so every process that a test starts records, too.
_SITE = """\
import importlib.util
spec = importlib.util.spec_from_file_location("saldiag_recording", {path!r})
recording = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recording)
recording.install()
"""


if __name__ == "__main__":
    sys.exit(main())
