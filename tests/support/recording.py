"""Records the values that saldiag's messages are filled with while tests run.

A message is an f-string, so its template and its values are only known together while it is
evaluated. ``install`` adds an import hook: in saldiag's own modules every f-string that holds a
word hands its literal parts and its formatted values to ``_record`` before it returns the same
text. The sources, and the bytecode on disk, stay as they are.

A process records where ``SALDIAG_RECORD_TEXTS`` names a directory: each writes lines of JSON into a
file of its own. This module runs in every process of the tests, before anything else, and therefore
imports the standard library only.
"""

from __future__ import annotations

import ast
import builtins
import functools
import json
import os
import re
import string
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

DIRECTORY = "SALDIAG_RECORD_TEXTS"
"""The environment variable that names the directory of the records."""

PACKAGES = ("saldiag", "saldiag_probes", "saldiag_reports")
ROOT = Path(__file__).parents[2]
MESSAGES = ROOT / "tests" / "messages.txt"

OPEN, CLOSE = "«", "»"
"""The marks around a value in ``messages.txt``; no text of saldiag holds them."""

MAX_VALUE_LENGTH = 120

_WORD = re.compile(r"[A-Za-z]{2}")
_HOLE = re.compile(f"{OPEN}[^{CLOSE}]*{CLOSE}")
_LABEL = re.compile(r"^ *(?:(?:part|skipped): )?")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")
_TEST_FOLDER = re.compile(r"/\S*?/pytest-of-\w+/pytest-\d+/(?:popen-gw\d+/)?[\w.\[\]-]+")
_TEMPORARY = re.compile(r"/tmp/tmp\w{8}")
_PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+")
_PACKAGE_FOLDER = re.compile(r"/[^\s:'\"]*?/(?:site|dist)-packages/")


# --- keys -----------------------------------------------------------------------------------------


def template_key(text: str) -> str:
    """A template's key: the text with nothing between the marks.

    The key does not depend on the names of variables, nor on where the text is in the source.
    """
    return _HOLE.sub(OPEN + CLOSE, text.replace("\n", "⏎"))


def filled(literals: Sequence[str], values: Sequence[str]) -> str:
    """The text with its values between marks; ``literals`` has one item more than ``values``."""
    parts = [literals[0]]
    for value, literal in zip(values, literals[1:], strict=True):
        parts += [OPEN, value, CLOSE, literal]
    return "".join(parts).replace("\n", "⏎")


def literals_of(text: str) -> list[str]:
    """The parts of a text around its marked values."""
    return _HOLE.split(text)


def as_line(text: str) -> str:
    """A text on one line, with visible spaces at its ends."""
    inner = text.strip(" ")
    left = len(text) - len(text.lstrip(" "))
    return "␣" * left + inner + "␣" * (len(text) - left - len(inner))


def as_text(line: str) -> str:
    """The text of a line of ``messages.txt``."""
    return _LABEL.sub("", line).replace("␣", " ")


def examples(lines: Iterable[str]) -> dict[str, str]:
    """The texts with values in ``messages.txt``, by their key."""
    texts = (as_text(line) for line in lines if OPEN in line)
    return {template_key(text): text for text in texts}


def shape(text: str) -> str:
    """The text with every number replaced by 0: two measurements of the same thing look alike."""
    return _NUMBER.sub("0", text)


def tidied(value: str) -> str:
    """A value without the folders of this machine and this run, and not longer than a line."""
    value = _TEST_FOLDER.sub("/home/me/project", value)
    value = _TEMPORARY.sub("/home/me/project", value)
    value = _PORT.sub("8000", value)
    value = _PACKAGE_FOLDER.sub("site-packages/", value)
    value = value.replace(str(ROOT), "/home/me/saldiag").replace(f"{ROOT.parent}/", "/home/me/")
    value = value.replace(OPEN, "<").replace(CLOSE, ">")
    value = "".join(c if c.isprintable() or c == "\n" else "?" for c in value)
    return value if len(value) <= MAX_VALUE_LENGTH else f"{value[: MAX_VALUE_LENGTH - 1]}…"


def preference(text: str) -> tuple[Any, ...]:
    """What sorts examples of one template: complete, free of markup, short, first by alphabet."""
    odd = any(ord(c) > 0x2FFF or c in "<>?\\" for c in text)
    return (f"{OPEN}{CLOSE}" in text, odd, len(text), text)


# --- recording, in the processes of the tests -----------------------------------------------------


class Recorder:
    """The best example of each template in this process, written whenever a better one comes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._best: dict[str, tuple[Any, ...]] = {}
        self._findings: set[str] = set()

    def text(self, literals: Sequence[str], values: Sequence[str]) -> None:
        """One evaluated f-string."""
        found = filled(literals, [tidied(value) for value in values])
        key, rank = template_key(found), preference(found)
        if key not in self._best or rank < self._best[key]:
            self._best[key] = rank
            self._write({"key": key, "text": found})

    def finding(self, rule: str, message: str, fix: str) -> None:
        """One finding of a rule, whole."""
        message, fix = (tidied_text(text) for text in (message, fix))
        alike = shape(f"{rule}{message}{fix}")
        if alike not in self._findings:
            self._findings.add(alike)
            self._write({"rule": rule, "message": message, "fix": fix})

    def _write(self, record: dict[str, str]) -> None:
        line = json.dumps(record, ensure_ascii=False) + "\n"
        path = self._directory / f"{os.getpid()}.jsonl"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(handle, line.encode("utf-8", "replace"))
            finally:
                os.close(handle)
        except OSError:  # a test of a full disk, or of too many open files
            return


def tidied_text(text: str) -> str:
    """A whole message without the folders of this machine; its length stays."""
    return " ".join(tidied(word) for word in text.split(" ")).replace("\n", "⏎")


def records(directory: Path) -> Iterator[dict[str, str]]:
    """Every record of a test run."""
    for path in sorted(directory.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:  # its process was killed while it wrote
                continue


# --- the import hook ------------------------------------------------------------------------------


def install() -> None:
    """Record in this process, if the environment asks for it."""
    directory = os.environ.get(DIRECTORY)
    if not directory or not Path(directory).is_dir():
        return
    recorder = Recorder(Path(directory))

    def record(literals: tuple[str, ...], values: tuple[str, ...]) -> str:
        recorder.text(literals, values)
        pairs = zip(literals[1:], values, strict=True)
        return literals[0] + "".join(f"{value}{literal}" for literal, value in pairs)

    def record_format(template: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if isinstance(template, str):
            _record_format(recorder, template, args[0] if method == "format_map" else kwargs)
        return getattr(template, method)(*args, **kwargs)

    vars(builtins).update(_saldiag_record=record, _saldiag_format=record_format)
    sys.meta_path.insert(0, _RecordingFinder(recorder))


def _record_format(recorder: Recorder, template: str, values: Any) -> None:
    """Record ``template.format(**values)``, if every field is a plain name."""
    try:
        parts = list(string.Formatter().parse(template))
        if not _WORD.search("".join(literal for literal, *_ in parts)):
            return
        literals, found = [""], []
        for literal, name, spec, conversion in parts:
            literals[-1] += literal
            if name is not None:
                field = "{x" + (f"!{conversion}" if conversion else "") + f":{spec or ''}" + "}"
                found.append(field.format(x=values[name]))
                literals.append("")
    except (ValueError, KeyError, TypeError, IndexError):
        return
    recorder.text(literals, found)


class _RecordingFinder:
    """Finds saldiag's modules as usual, and has them loaded with recording f-strings."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in PACKAGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path, self._recorder)
        return spec


class _Loader(SourceFileLoader):
    """Compiles a module with recording f-strings, past the bytecode cache."""

    def __init__(self, name: str, path: str, recorder: Recorder) -> None:
        super().__init__(name, path)
        self._recorder = recorder

    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(self.get_data(self.path), self.path)
        return compile(with_recording(tree), self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        rule = vars(module).get("Rule")
        if getattr(rule, "__module__", "") == module.__name__ and "finding" in vars(rule):
            rule.finding = _recording(rule.finding, self._recorder)


def _recording(method: Callable[..., Any], recorder: Recorder) -> Callable[..., Any]:
    @functools.wraps(method)
    def finding(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = method(self, *args, **kwargs)
        recorder.finding(found.rule, found.message, found.fix)
        return found

    return finding


def with_recording(tree: ast.Module) -> ast.Module:
    """The module with every f-string that holds a word replaced by a call that records it."""
    return ast.fix_missing_locations(_Rewriter().visit(tree))


class _Rewriter(ast.NodeTransformer):
    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        node.value = self.visit(node.value)  # the format_spec has to stay an f-string
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        self.generic_visit(node)
        literals, values = [""], []
        for part in node.values:
            if isinstance(part, ast.Constant):
                literals[-1] += part.value
            else:
                values.append(ast.copy_location(ast.JoinedStr([part]), node))
                literals.append("")
        if not values or not _WORD.search("".join(literals)):
            return node
        texts = ast.Tuple([ast.Constant(text) for text in literals], ast.Load())
        name = ast.Name("_saldiag_record", ast.Load())
        call = ast.Call(name, [texts, ast.Tuple(list(values), ast.Load())], [])
        return ast.copy_location(call, node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        method = node.func
        if not isinstance(method, ast.Attribute) or method.attr not in ("format", "format_map"):
            return node
        name = ast.Name("_saldiag_format", ast.Load())
        args = [method.value, ast.Constant(method.attr), *node.args]
        return ast.copy_location(ast.Call(name, args, node.keywords), node)


# --- the tests' side ------------------------------------------------------------------------------


def precede_pytest() -> None:
    """Let the import hook come before pytest's, which loads every module of a plugin's package."""
    sys.meta_path.sort(key=lambda finder: type(finder).__name__ != _RecordingFinder.__name__)


precede_pytest()  # pytest imports this module by -p, after its own hook and before other plugins


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out tests on random input: their values are no examples."""
    kept = [i for i in items if not getattr(getattr(i, "obj", None), "is_hypothesis_test", False)]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
