"""Finds the texts that saldiag can show, in its sources: message templates and fixed sentences.

A text is a string literal or an f-string with words in it that is neither documentation nor a value
that the program compares, looks up or matches against. The value of a placeholder is left out: it
is marked, and holds the expression.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.recording import CLOSE, OPEN, template_key

SOURCES = ("saldiag", "probes/saldiag_probes", "reports/saldiag_reports")

# The groups of messages.txt, in its order.
RULES = "Rules: titles, findings, fixes, and why a rule is skipped"
CRASHES = "What errors of Keras and TensorFlow mean"
VERDICTS = "Verdicts, hypotheses and other texts of several rules"
EXPERIMENTS = "Experiments: hypotheses, changes, and why a change does not apply"
NOT_MEASURED = "Why something was not measured"
ERRORS = "Errors (exit code 2)"
PYTHON_ERRORS = "Errors of the Python interface"
PROGRESS = "Progress and status lines"
COMMANDS = "Commands and programs: other lines and parts of sentences"
SUBJECT = "Models and data: other lines and parts of sentences"
TRAINING = "Training: other lines and parts of sentences"
MASKS = "Image masks and quicksal: other lines and parts of sentences"
PROBES = "Probes: other lines and parts of sentences"
OLDER_KERAS = "Names of older Keras, TensorFlow and numpy, and what replaces them"
FIXING = "Fixes: why there is no edit"
COMPARING = "Comparison of runs"
REPORTS = "Reports: headings, labels, sentences"
TESTING = "Test assertions and the selftest"
OTHER = "Other texts"

GROUPS = (
    RULES, CRASHES, VERDICTS, EXPERIMENTS, NOT_MEASURED, ERRORS, PYTHON_ERRORS, PROGRESS, COMMANDS,
    SUBJECT, TRAINING, MASKS, PROBES, OLDER_KERAS, FIXING, COMPARING, REPORTS, TESTING, OTHER,
)  # fmt: skip

# By the class or function that is called with the text.
_GROUP_OF_CALL = {
    "CannotJudge": VERDICTS,
    "CannotMeasure": NOT_MEASURED,
    "NoBaselines": NOT_MEASURED,
    "CannotScore": NOT_MEASURED,
    "mark_missing": NOT_MEASURED,
    "mark_data_unreadable": NOT_MEASURED,
    "NotApplicable": EXPERIMENTS,
    "Change": EXPERIMENTS,
    "Uncertain": FIXING,
    "Changed": FIXING,
    "Meaning": CRASHES,
    "phase": PROGRESS,
    "status": PROGRESS,
    "_print_line": PROGRESS,
    "_print_lines": PROGRESS,
    "add_task": PROGRESS,
    "UsageError": ERRORS,
    "BadParameter": ERRORS,
    "refuse_unused": ERRORS,
    "fail": ERRORS,
}
_PYTHON_ERRORS = frozenset({
    "AssertionError", "AttributeError", "FileNotFoundError", "KeyError", "LookupError",
    "NotImplementedError", "RuntimeError", "TypeError", "ValueError",
})  # fmt: skip

# By a part of the path, where no call decides. The first that is found counts. Only names of rooms:
# modules move within them.
_GROUP_OF_PATH = (
    ("/comparison/", COMPARING),
    ("/compat/", OLDER_KERAS),
    ("/interventions/", EXPERIMENTS),
    ("/saldiag/rules/", VERDICTS),
    ("/saldiag/repair/", FIXING),
    ("/saldiag/experiments/", TRAINING),
    ("/saldiag/subject/", SUBJECT),
    ("/saldiag/selftest/", TESTING),
    ("/saldiag/testing/", TESTING),
    ("/saldiag/quicksal/", MASKS),
    ("/saldiag/image_masks/", MASKS),
    ("/saldiag/recipes/", MASKS),
    ("/saldiag_probes/", PROBES),
    ("/saldiag_reports/", REPORTS),
    ("/saldiag/", COMMANDS),
)

_RULE_FILE = re.compile(r"(sd\d{3})_\w+\.py$")
_WORD = re.compile(r"[^\W\d_]{2,}")
_FIELD = re.compile(r"[a-z_]\w*")

# Modules of invented data, of programs under test and of the tool that keeps their results.
_LEFT_OUT = re.compile(r"/gallery|/selftest/(faults|healthy)/|/selftest/record\.py")

_NEVER_SHOWN = re.compile(
    r"""
    ^(bold|dim)\s\w+$ | ^DejaVu\sSans$ | ^\n | ^\s*<(table|tr)\s | default-src | font-family
    | (^|\s)font-size: | ^offset\spoints$ | ^axes\sfraction$ | ^<frozen | begin\s-->
    """,
    re.VERBOSE,
)
# Calls whose arguments are compared with a text that someone else wrote.
_MATCHERS = frozenset({
    "compile", "count", "endswith", "filterwarnings", "find", "findall", "finditer", "frozenset",
    "fullmatch", "get", "getattr", "index", "match", "partition", "removeprefix", "removesuffix",
    "rpartition", "search", "split", "startswith", "sub",
})  # fmt: skip
_SILENT_KEYWORDS = frozenset({
    "dtype", "encoding", "error", "errors", "help", "loc", "metavar", "pattern", "prog",
    "show_default", "style", "textcoords", "xycoords",
})  # fmt: skip
_SILENT_NAMES = frozenset({"words", "answers", "requires", "explains", "__all__", "_STYLES"})
# Which argument of a call is a heading, which may be a single word.
_HEADING_ARGUMENT = {
    "Column": 0, "Section": 1, "Text": 0, "add_column": 0, "set_title": 0, "set_xlabel": 0,
    "set_ylabel": 0,
}  # fmt: skip


@dataclass(frozen=True)
class SourceText:
    """One text in the source.

    Attributes:
        group: the heading it is listed under.
        text: the text, each placeholder as its expression between the marks.
        code: the rule whose module holds it, or empty.
        skips: whether it says why a rule is skipped.
        choices: words of which a placeholder picks one.
        order: sorts texts that are listed in the order of the source.
    """

    group: str
    text: str
    code: str = ""
    skips: bool = False
    choices: tuple[str, ...] = ()
    order: tuple[str, int] = ("", 0)

    @property
    def key(self) -> str:
        """The template, whatever its placeholders are called."""
        return template_key(self.text)


def texts_of_package(root: Path) -> list[SourceText]:
    """Every text in the sources and the page templates below ``root``, in the order of names."""
    found: list[SourceText] = []
    for folder in SOURCES:
        for path in sorted((root / folder).rglob("*.py")):
            shown = path.relative_to(root).as_posix()
            if not _LEFT_OUT.search(f"/{shown}"):
                found += texts_of_module(path.read_text(encoding="utf-8"), shown)
        for path in sorted((root / folder).rglob("*.j2")):
            found += texts_of_template(path.read_text(encoding="utf-8"), path.name)
    return found


# --- Python ---------------------------------------------------------------------------------------


def texts_of_module(source: str, path: str) -> list[SourceText]:
    """Every text of a module; ``path`` decides on its group where nothing else does."""
    visitor = _Visitor(source, path)
    visitor.visit(ast.parse(source))
    return visitor.found


class _Visitor(ast.NodeVisitor):
    def __init__(self, source: str, path: str) -> None:
        self.found: list[SourceText] = []
        self._lines = source.splitlines()
        self._path = path
        rule = _RULE_FILE.search(path)
        self._code = rule[1].upper() if rule else ""
        self._calls: list[str] = []
        self._headings: set[int] = set()

    # What holds texts that nobody is shown.

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for part in (node.left, *node.comparators):
            if not isinstance(part, ast.Constant | ast.Tuple | ast.Set | ast.List):
                self.visit(part)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)
        if not isinstance(node.slice, ast.Constant) and not _is_literal_type(node):
            self.visit(node.slice)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None and not _is_silent(node.target):
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if not any(_is_silent(target) for target in node.targets):
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        """An annotation is no text."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        node.returns = None
        self.generic_visit(node)

    def visit_match_case(self, node: ast.match_case) -> None:
        for part in node.body:
            self.visit(part)

    # What holds texts.

    def visit_Call(self, node: ast.Call) -> None:
        name = _called(node.func)
        self.visit(node.func)
        if name in _MATCHERS:
            return
        self._calls.append(name)
        heading = node.args[_HEADING_ARGUMENT.get(name, len(node.args)) :][:1]
        self._headings.update(id(argument) for argument in heading)
        for argument in node.args[name == "Meaning" :]:  # its first argument is a key
            self.visit(argument)
        for keyword in node.keywords:
            if keyword.arg not in _SILENT_KEYWORDS:
                self.visit(keyword.value)
        self._calls.pop()

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and not self._is_raw(node):
            literals, names = _fields(node.value)
            heading = id(node) in self._headings and _WORD.search(node.value)
            if names or heading or _is_text(node.value):
                self._add(literals, [f"{{{name}}}" for name in names], node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        literals, names = [""], []
        for part in node.values:
            if isinstance(part, ast.Constant):
                literals[-1] += part.value
            elif isinstance(part, ast.FormattedValue):
                names.append(f"{{{ast.unparse(part.value)}}}")
                literals.append("")
        text = "".join(literals)
        if not self._is_raw(node) and " " in text and _WORD.search(text):
            self._add(literals, names, node, _choices(node))
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)

    def _add(
        self,
        literals: list[str],
        names: list[str],
        node: ast.expr,
        choices: tuple[str, ...] = (),
    ) -> None:
        if _NEVER_SHOWN.search("".join(literals)):
            return
        clean = [name.replace(OPEN, "<").replace(CLOSE, ">") for name in names]
        pairs = zip(literals[1:], clean, strict=True)
        text = literals[0] + "".join(f"{OPEN}{name}{CLOSE}{literal}" for literal, name in pairs)
        self.found.append(
            SourceText(
                group=self._group(),
                text=text.replace("\n", "⏎"),
                code=self._code,
                skips="CannotJudge" in self._calls,
                choices=choices,
                order=(self._path.rpartition("/")[2], node.lineno * 1000 + node.col_offset),
            )
        )

    def _group(self) -> str:
        if self._code:
            return RULES
        for name in reversed(self._calls):
            if name in _GROUP_OF_CALL:
                return _GROUP_OF_CALL[name]
            if name in _PYTHON_ERRORS:
                return PYTHON_ERRORS
            if name.endswith("Error") or name == "error":
                return ERRORS
        path = f"/{self._path}"
        return next((group for part, group in _GROUP_OF_PATH if part in path), OTHER)

    def _is_raw(self, node: ast.expr) -> bool:
        """Whether it is written with an ``r`` before its quotes: a pattern."""
        line = self._lines[node.lineno - 1].encode()
        return re.match(rb"[a-z]*r[a-z]*[\"']", line[node.col_offset :], re.IGNORECASE) is not None


def _called(function: ast.expr) -> str:
    """``phase`` of ``self.session.phase``."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_literal_type(node: ast.Subscript) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "Literal"


def _is_silent(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id in _SILENT_NAMES


def _is_text(value: str) -> bool:
    """Two words, or one with a space or a colon beside it: a part of a sentence."""
    words = len(_WORD.findall(value))
    return (" " in value.strip() and words > 1) or (
        words == 1 and bool(re.search(r"^[ ,;:]|[ :]$", value))
    )


def _fields(value: str) -> tuple[list[str], list[str]]:
    """The literal parts and the names of the fields of a text that ``format`` fills."""
    try:
        parts = list(string.Formatter().parse(value))
    except ValueError:
        return [value], []
    literals, names = [""], []
    for literal, name, _, _ in parts:
        literals[-1] += literal
        if name is not None:
            if not _FIELD.fullmatch(name):
                return [value], []
            names.append(name)
            literals.append("")
    if names and (" " not in value or not _WORD.search("".join(literals))):
        return [value], []
    return literals, names


def _choices(node: ast.JoinedStr) -> tuple[str, ...]:
    """Words of which a placeholder picks one: ``is`` and ``are``."""
    picked: list[str] = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            for choice in ast.walk(part.value):
                if isinstance(choice, ast.IfExp):
                    picked += _words((choice.body, choice.orelse))
                elif isinstance(choice, ast.BoolOp) and isinstance(choice.op, ast.Or):
                    picked += _words(choice.values[1:])
    return tuple(dict.fromkeys(picked))


def _words(nodes: Iterable[ast.expr]) -> Iterator[str]:
    for node in nodes:
        value = node.value if isinstance(node, ast.Constant) else None
        if not isinstance(value, str) or _is_text(value):
            continue
        if value.isprintable() and any(character.isalpha() for character in value):
            yield value


# --- page templates -------------------------------------------------------------------------------

_JINJA = re.compile(r"\{#.*?#\}|\{%-?(?P<statement>.*?)-?%\}|\{\{-?(?P<value>.*?)-?\}\}", re.DOTALL)
_TAG = re.compile(r"<!?/?[a-zA-Z][^<>]*>", re.DOTALL)
_SHOWN_ATTRIBUTE = re.compile(r'\b(?:title|alt|aria-label)="([^"]*)"')
_QUOTED = re.compile(r'"([^"]*)"')
_BREAK = "\0"


def texts_of_template(source: str, name: str) -> list[SourceText]:
    """Every text of a Jinja template: between its tags, in shown attributes and in expressions."""
    quoted: list[str] = []

    def flat(found: re.Match[str]) -> str:
        inside = found["value"] or found["statement"] or ""
        quoted.extend(text for text in _QUOTED.findall(inside) if _is_text(text))
        if found["value"] is None:
            return _BREAK
        return f"{OPEN}{{{' '.join(found['value'].split())}}}{CLOSE}"

    source = re.sub(r"<(style|script)>.*?</\1>", "", source, flags=re.DOTALL)
    plain = _JINJA.sub(flat, source)
    held = [text for tag in _TAG.findall(plain) for text in _SHOWN_ATTRIBUTE.findall(tag)]
    pieces = re.split(f"{_BREAK}|\n\\s*\n", _TAG.sub(_BREAK, plain))
    texts = [" ".join(piece.split()) for piece in (*pieces, *held, *quoted)]
    shown = [t for t in texts if _WORD.search(re.sub(f"{OPEN}.*?{CLOSE}", "", t))]
    group = COMPARING if name.startswith("compare") else REPORTS
    return [SourceText(group, text, order=(name, at)) for at, text in enumerate(shown)]
