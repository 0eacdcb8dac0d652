"""The documentation: its code blocks run, its links hold, and the site holds what is generated.

Every fenced block in README.md, CONTRIBUTING.md and docs/ is run, parsed or declared as output:

- ``python``: executed; the blocks of a page share their names and a working directory.
- ``console``: each line after ``$ `` is a command of a shell, and what is printed has to hold the
  lines below it, apart from numbers and line breaks; ``…`` on a line of its own skips output.
- any block with ``title="FILE"`` is written to that file.
- ``toml``, ``yaml`` and ``json``: parsed. ``text`` and ``diff`` show output and are not run.

HTML comments above a block say how: ``<!-- slow -->`` (it trains a model), ``<!-- exit: 1 -->``
(one exit code for all of its commands, or one for each), ``<!-- not run: REASON -->``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
SHOWN = ("text", "diff")
PARSERS = {"toml": tomllib.loads, "yaml": yaml.safe_load, "json": json.loads}
EXECUTABLES = {"saldiag": "-m saldiag", "python": "", "pytest": "-m pytest -p no:cacheprovider"}


def named(page: Path) -> str:
    """A page's path in the repository."""
    return str(page.relative_to(ROOT) if page.is_relative_to(ROOT) else page)


@dataclass(frozen=True)
class Block:
    """A fenced code block and the comments above it."""

    page: Path
    line: int
    language: str
    title: str | None
    text: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{named(self.page)}:{self.line}"

    @property
    def slow(self) -> bool:
        return "slow" in self.notes

    @property
    def not_run(self) -> bool:
        return any(re.fullmatch(r"not run: \w.*", note) for note in self.notes)

    @property
    def exit_codes(self) -> tuple[int, ...]:
        codes = [note.removeprefix("exit:") for note in self.notes if note.startswith("exit:")]
        return tuple(int(code) for code in codes[0].split(",")) if codes else (0,)


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in their order."""
    notes: list[str] = []
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "html_block":
            notes += re.findall(r"<!--\s*(.*?)\s*-->", token.content, re.DOTALL)
        elif token.type == "fence":
            language, _, rest = token.info.strip().partition(" ")
            title = re.search(r'title="([^"]+)"', rest)
            line = token.map[0] + 1 if token.map else 0
            yield Block(
                page, line, language, title[1] if title else None, token.content, tuple(notes)
            )
            notes = []
        else:
            notes = []


BLOCKS = {page: tuple(blocks_of(page)) for page in PAGES}


def commands(block: Block) -> list[tuple[str, str]]:
    """Each command of a console block, with the output shown below it."""
    found: list[tuple[list[str], list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif found and not found[-1][1] and found[-1][0][-1].endswith("\\"):
            found[-1][0].append(line)
        else:
            assert found, f"{block}: output before the first command"
            found[-1][1].append(line)
    return [("\n".join(words), "\n".join(shown)) for words, shown in found]


def masked(text: str) -> str:
    """``text`` without line breaks and with # for every number."""
    without_numbers = re.sub(r"[\u2212-]?\d[\d.,]*(?:e[+-]?\d+)?", "#", text)
    return re.sub(r"\s+", "", without_numbers)


def assert_shown(block: Block, shown: str, printed: str) -> None:
    """Every part of the shown output is printed, in that order."""
    rest = masked(printed)
    for part in re.split(r"(?m)^\s*…\s*$", shown):
        wanted = masked(part)
        assert wanted in rest, f"{block} shows\n{part}\nand this was printed:\n{printed}"
        rest = rest[rest.index(wanted) + len(wanted) :]


class Reader:
    """Somebody who does what a page says, in a fresh directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.bin = folder.parent / "bin"
        self.bin.mkdir(exist_ok=True)
        for name, arguments in EXECUTABLES.items():
            path = self.bin / name
            path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
            path.chmod(0o755)

    def follow(self, block: Block) -> None:
        """Run, write or parse a block."""
        if block.title is not None:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            self._type(block)
        elif block.language == "python":
            with warnings.catch_warnings():
                warnings.simplefilter("default")  # as for somebody who types it
                exec(compile(block.text, str(block), "exec"), self.names)
        if block.language in PARSERS:
            PARSERS[block.language](block.text)

    def _type(self, block: Block) -> None:
        typed = commands(block)
        codes = block.exit_codes * (len(typed) if len(block.exit_codes) == 1 else 1)
        assert len(codes) == len(typed), f"{block}: {len(typed)} commands, {len(codes)} exit codes"
        env = {**os.environ, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}
        for (command, shown), code in zip(typed, codes, strict=True):
            done = subprocess.run(
                ["bash", "-c", command], cwd=self.folder, env=env, text=True, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
            )  # fmt: skip
            assert done.returncode == code, f"{block}: {command}\n{done.stdout}"
            assert_shown(block, shown, done.stdout)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return Reader(folder)


FAST_PAGES = [p for p in PAGES if any(not (b.slow or b.not_run) for b in BLOCKS[p])]
SLOW_PAGES = [p for p in PAGES if any(b.slow and not b.not_run for b in BLOCKS[p])]


@pytest.mark.parametrize("page", FAST_PAGES, ids=named)
def test_blocks_that_need_no_training_run(page: Path, reader: Reader) -> None:
    for block in BLOCKS[page]:
        if not (block.slow or block.not_run):
            reader.follow(block)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("page", SLOW_PAGES, ids=named)
def test_all_blocks_run_in_their_order(page: Path, reader: Reader) -> None:
    for block in BLOCKS[page]:
        if not block.not_run:
            reader.follow(block)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    for block in BLOCKS[page]:
        for note in block.notes:
            known = re.fullmatch(r"slow|exit: ?\d(, ?\d)*|not run: \w.*", note)
            assert known, f"{block}: unknown comment <!-- {note} -->"
        runnable = block.language in {"python", "console", *PARSERS}
        assert runnable or block.title or block.not_run or block.language in SHOWN, (
            f"{block}: {block.language or 'no language'} is not run: add <!-- not run: REASON -->"
        )
        assert block.language != "console" or block.not_run or commands(block), f"{block}: no $"
    text = page.read_text(encoding="utf-8")
    fences = len(re.findall(r"(?m)^\s*```", text))
    assert fences == 2 * len(BLOCKS[page]), f"{page}: a code block that the tests do not see"


def test_a_block_that_is_neither_run_nor_annotated_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- slow -->\n<!-- exit: 1, 0 -->\n```console\n$ a \\\n  b\nout\n$ c\n```\n")
    (block,) = blocks_of(page)
    assert (block.slow, block.exit_codes, block.not_run) == (True, (1, 0), False)
    assert commands(block) == [("a \\\n  b", "out"), ("c", "")]
    assert_shown(block, "loss 0.2\n…\nend", "x\nloss 0.31\nand\nmore end")
    with pytest.raises(AssertionError, match="shows"):
        assert_shown(block, "end\n…\nloss 1", "loss 2\nend")


# ----------------------------------------------------------------------------------- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built strictly: a dead link or a page outside of the menu is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, text=True, check=False,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_rule_has_an_address_of_its_own(site: Path) -> None:
    from saldiag.rules.engine.registry import all_rules

    index = (site / "rules" / "index.html").read_text(encoding="utf-8")
    for rule in all_rules():
        page = site / "rules" / rule.code / "index.html"
        assert f"{rule.code} {rule.name}" in page.read_text(encoding="utf-8")
        assert f'href="{rule.code}/"' in index


def test_sarif_and_report_link_to_the_pages_of_the_rules(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from saldiag.cli.main import main
    from saldiag.core.files.run import Run
    from saldiag_reports.gallery import runs

    data, run = runs.broken_run(), Run.create("overfit", tmp_path / "run")
    run.write_info(data.info)
    run.write_diagnosis(data.diagnosis)
    monkeypatch.setenv("SALDIAG_DOCS_URL", "https://docs.example/saldiag/")
    assert main(["report", str(run.path), "--format", "sarif"]) == 1
    rules = json.loads(capsys.readouterr().out)["runs"][0]["tool"]["driver"]["rules"]
    assert 'href="https://docs.example/saldiag/rules/SD101/"' in report_of(run.path)
    for rule in rules:
        page = rule["helpUri"].removeprefix("https://docs.example/saldiag/")
        assert (site / page / "index.html").is_file()
    monkeypatch.delenv("SALDIAG_DOCS_URL")
    assert main(["report", str(run.path), "--format", "sarif"]) == 1
    assert "helpUri" not in capsys.readouterr().out
    assert "http" not in re.findall(r'<span class="rule">.*?</span>', report_of(run.path))[0]


def report_of(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("base", "code"),
    [("", "SD101"), ("javascript:x", "SD101"), ("https://a b", "SD101"), ("https://a", "../SD1")],
)
def test_only_a_rule_of_an_address_is_linked(
    base: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saldiag.core.documentation import rule_url

    monkeypatch.setenv("SALDIAG_DOCS_URL", base)
    assert rule_url(code) is None


def test_every_command_and_flag_is_in_the_reference(site: Path) -> None:
    from saldiag_docs.command_line import commands

    for words, command, _ in commands():
        page = site / "reference" / "cli" / words.replace(" ", "-") / "index.html"
        text = page.read_text(encoding="utf-8")
        for flag in (flag for option in command.params for flag in option.opts):
            assert flag in text or not flag.startswith("-"), f"{words} {flag}"


def test_every_measurement_and_schema_is_in_the_reference(site: Path) -> None:
    from saldiag.core.measurement import TYPES

    files = site / "reference" / "files"
    page = (files / "measurements" / "index.html").read_text(encoding="utf-8")
    assert all(f'id="{key}"' in page for key in TYPES)
    schemas = sorted((ROOT / "reports" / "saldiag_reports" / "schema").rglob("*.schema.json"))
    assert schemas
    for schema in schemas:
        assert json.loads((files / schema.name).read_text()) == json.loads(schema.read_text())


def test_the_site_needs_nothing_from_elsewhere(site: Path) -> None:
    fetched = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"?(?:https?:)?//[^>]*>")
    for page in site.rglob("*.html"):
        found = [tag for tag in fetched.findall(page.read_text(encoding="utf-8"))
                 if "canonical" not in tag]  # fmt: skip
        assert not found, f"{page}: {found}"


def test_the_pages_are_made_without_tensorflow() -> None:
    code = (
        "import sys; sys.path.insert(0, 'docs'); from saldiag_docs import hooks\n"
        "pages = [g.pages() for g in hooks.GENERATORS]\n"
        "heavy = {'tensorflow', 'keras'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------ the text

LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=named)
def test_links_of_pages_outside_the_site_hold(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_is_short_and_states_the_test_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 250
    assert "make test" in text
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_commands_are_in_the_readme() -> None:
    from saldiag_docs.command_line import commands

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [words for words, _, _ in commands() if f"saldiag {words}" not in text] == []


def test_every_room_is_in_the_picture_and_described(site: Path) -> None:
    from saldiag_docs.rooms_picture import PATH, rows

    picture = (site / PATH).read_text(encoding="utf-8")
    described = (DOCS / "architecture" / "index.md").read_text(encoding="utf-8")
    layers, without = rows()
    assert without < {room for layer in layers for room in layer}
    for room in (room for layer in layers for room in layer):
        assert f">{room}</text>" in picture
        folder = room.replace("saldiag.", "saldiag/").removeprefix("saldiag_")
        assert f"{folder}/" in described or f"{folder}.py" in described, room


def test_the_glossary_is_short() -> None:
    text = (DOCS / "architecture" / "glossary.md").read_text(encoding="utf-8")
    assert 10 <= len(re.findall(r"(?m)^:   ", text)) <= 25


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_paths_of_the_code_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:saldiag|probes|reports|tests|docs)/[\w./-]*)`", text):
        placeholder = re.search(r"FAMILY|NNN|NAME", path)
        assert placeholder or (ROOT / path).exists(), f"{page}: {path}"
