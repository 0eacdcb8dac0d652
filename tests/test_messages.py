"""Every text that a user can see is in ``messages.txt``, as the sources have it today."""

from __future__ import annotations

import ast
import difflib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support import messages
from tests.support.recording import (
    DIRECTORY,
    MESSAGES,
    ROOT,
    Recorder,
    as_line,
    as_text,
    examples,
    filled,
    preference,
    records,
    template_key,
    tidied,
    with_recording,
)
from tests.support.source_texts import (
    ERRORS,
    EXPERIMENTS,
    NOT_MEASURED,
    OTHER,
    PROGRESS,
    REPORTS,
    RULES,
    texts_of_module,
    texts_of_template,
)

HOW = "`make messages` writes it; `make messages OPTIONS=--cheap` does so in seconds"


def test_the_file_is_up_to_date() -> None:
    before = MESSAGES.read_text(encoding="utf-8")
    after = messages.written(messages.from_file(before))
    changed = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    assert before == after, "\n".join(
        [f"tests/messages.txt is not up to date: {HOW}", *list(changed)[:60]]
    )


def test_nothing_of_this_machine_is_in_it() -> None:
    text = MESSAGES.read_text(encoding="utf-8")
    for part in (
        str(ROOT),
        str(ROOT.parent / "shared"),
        "pytest-of",
        "/tmp/",
        "site-packages/site",
        f"{Path.home()}/",
    ):
        assert part not in text


# --- texts in the source --------------------------------------------------------------------------


def found(source: str, path: str = "elsewhere/module.py") -> dict[str, str]:
    return {text.text: text.group for text in texts_of_module(textwrap.dedent(source), path)}


@pytest.mark.parametrize(
    ("source", "text", "group"),
    [
        ("raise DataError(f'{path}: no rows in it')", "«{path}»: no rows in it", ERRORS),
        ("raise click.UsageError('not both of them')", "not both of them", ERRORS),
        ("raise CannotMeasure('no batch is known')", "no batch is known", NOT_MEASURED),
        ("raise NotApplicable('it has no dropout')", "it has no dropout", EXPERIMENTS),
        ("with self.session.phase('reading data'): ...", "reading data", PROGRESS),
        ("says = '{layer} gets {got}'.format", "«{layer}» gets «{got}»", OTHER),
        ("column = Column('size', tip='bytes in all')", "size", OTHER),
        ("told = 'one part, ' if first else ''", "one part, ", OTHER),
        ("told = f'{{\"a\": 1}} of {name}'", '{"a": 1} of «{name}»', OTHER),
    ],
)
def test_a_text_is_found(source: str, text: str, group: str) -> None:
    assert found(source)[text] == group


@pytest.mark.parametrize(
    "source",
    [
        '"""A module with a docstring."""',
        "def f():\n    '''A function with one.'''",
        "x: int = 0\n'''Of an attribute.'''",
        "if kind == 'not applicable': pass",
        "name.startswith('Graph execution error')",
        "kinds: Literal['no gradient'] = default",
        "shape = re.compile(r'shape of (\\d+)')",
        "option = click.option('--seed', help='Seed of the split.')",
        "path = f'{folder}/{name}.npz'",
        "key = 'mean_absolute_error'",
        "found = table['held-out part of it']",
    ],
)
def test_what_nobody_sees_is_not(source: str) -> None:
    assert found(source) == {}


def test_words_that_a_placeholder_picks_are_kept() -> None:
    source = 'told = f\'{count} layer{"s" if count > 1 else ""} {"have" if many else "has"} none\''
    (text,) = texts_of_module(source, "module.py")
    assert text.choices == ("s", "have", "has")


def test_a_rule_holds_its_own_texts() -> None:
    source = "raise CannotJudge(f'{n} steps, needs 10')\ntold = 'too high: lower it'"
    skipped, told = texts_of_module(source, "saldiag/rules/any/sd123_some_name.py")
    assert (skipped.group, skipped.code, skipped.skips) == (RULES, "SD123", True)
    assert (told.code, told.skips) == ("SD123", False)


def test_the_text_of_a_page_is_found() -> None:
    page = '{% if x %}<p class="a" title="Where it is">Found {{ n }} of<b>them</b></p>{% endif %}'
    shown = texts_of_template(page, "page.html.j2")
    assert [text.text for text in shown] == ["Found «{n}» of", "them", "Where it is"]
    assert {text.group for text in shown} == {REPORTS}


def test_the_name_of_a_variable_does_not_matter() -> None:
    (one,) = texts_of_module("x = f'{path}: no rows in it'", "one.py")
    (other,) = texts_of_module("x = f'{where}: no rows in it'", "folder/other.py")
    assert one.key == other.key == "«»: no rows in it"


def test_every_kind_of_error_has_a_message_of_its_own() -> None:
    explained = messages.crash_findings().values()
    assert len({whole.message for whole in explained}) == len(explained)


# --- recording ------------------------------------------------------------------------------------


def test_a_recording_module_computes_the_same(tmp_path: Path) -> None:
    source = textwrap.dedent(
        """
        width, name, values = 7, "ab", {"x": 1.5}
        texts = [
            f"{width:>{width}} wide, {name!r} and {values['x']:.2f}",
            f"{name}", f"plain text", f"{{braces}} of {name}",
            f"{f'{width} inside of'} it", "{name} of {width:03d}".format(name=name, width=width),
            "{x} of it".format_map(values), "{} and {}".format(1, 2), "%d of" % width,
        ]
        """
    )
    plain: dict[str, object] = {}
    exec(compile(source, "plain", "exec"), plain)
    recorder = Recorder(tmp_path)

    def record(literals: tuple[str, ...], values: tuple[str, ...]) -> str:
        recorder.text(literals, values)
        return "".join(a + b for a, b in zip(literals, (*values, ""), strict=True))

    def record_format(template: str, method: str, *args: object, **kwargs: object) -> str:
        return getattr(template, method)(*args, **kwargs)  # type: ignore[no-any-return]

    recorded = {"_saldiag_record": record, "_saldiag_format": record_format}
    tree = with_recording(ast.parse(source))
    exec(compile(tree, "recorded", "exec"), recorded)
    assert recorded["texts"] == plain["texts"]
    texts = {record["text"] for record in records(tmp_path)}
    assert {"«      7» wide, «'ab'» and «1.50»", "{braces} of «ab»", "«7» inside of"} <= texts


def test_a_process_records_what_its_modules_say(tmp_path: Path) -> None:
    code = (
        "from tests.support.recording import install\ninstall()\n"
        "from saldiag.core.suggest import suggestion\nprint(suggestion('slat', ['salt', 'sugar']))"
    )
    folders = os.pathsep.join(str(ROOT / name) for name in ("", "probes", "reports"))
    environment = {**os.environ, DIRECTORY: str(tmp_path), "PYTHONPATH": folders}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    values = [json.dumps(record, ensure_ascii=False) for record in records(tmp_path)]
    assert "salt" in shown.stdout
    assert any("«" in value and "salt" in value for value in values), values


def test_the_best_example_is_kept(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    for value in ("", "much longer", "<b>", "short", "longer"):
        recorder.text(("the ", " part"), (value,))
    recorded = messages.with_records(messages.Recorded(), tmp_path)
    assert recorded.texts == {"the «» part": "the «short» part"}


def test_an_example_of_the_file_stays(tmp_path: Path) -> None:
    Recorder(tmp_path).text(("it took ", " s"), ("0.1",))
    earlier = messages.from_file("it took «12.5» s\n")
    assert messages.with_records(earlier, tmp_path).texts == {"it took «» s": "it took «12.5» s"}


def test_an_example_that_quotes_a_text_which_is_gone_does_not() -> None:
    file = (
        "«a.csv: the table has no rows in it» (exit code 2)\n«a.csv»: the table has no rows in it\n"
    )
    recorded = messages.from_file(file)
    draft = "«a.csv: the table has no rows in it» (exit code 2)\n«a.csv»: the table is empty\n"
    assert messages.without_stale(recorded, file).texts == recorded.texts
    assert "«» (exit code 2)" not in messages.without_stale(recorded, draft).texts


def test_a_line_is_read_as_it_was_written() -> None:
    for text in ("  and «2» more ", "{braces} of «it»", "«a» of «b»: «{'x': 1}»"):
        assert as_text(f"  part: {as_line(text)}") == text
        assert examples([as_line(text)]) == {template_key(text): text}


def test_a_value_is_fit_for_the_file() -> None:
    assert tidied("/tmp/pytest-of-me/pytest-3/popen-gw1/test_it0/run/a.csv") == (
        "/home/me/project/run/a.csv"
    )
    assert tidied("«a»\x1b") == "<a>?"
    assert len(tidied("x" * 1000)) == 120
    assert filled(["", "\n"], ["a"]) == "«a»⏎"
    assert min(["«»: no", "«<b>»: no", "«ab»: no", "«a»: no"], key=preference) == "«a»: no"
