"""A page for each command, from the click commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from saldiag.cli.main import cli
from saldiag_docs.markdown import escaped, table

FOLDER = "reference/cli"


def commands() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command that does something: its words after ``saldiag``, and its context."""
    yield from _commands(cli, click.Context(cli, info_name="saldiag"), ())


def _commands(
    group: click.Group, context: click.Context, words: tuple[str, ...]
) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context, max_content_width=80)
        if isinstance(command, click.Group):
            yield from _commands(command, inner, (*words, name))
        else:
            yield " ".join((*words, name)), command, inner


def pages() -> dict[str, str]:
    """The pages by their path below docs/."""
    found = {f"{FOLDER}/{_file(words)}": _page(command, at) for words, command, at in commands()}
    return {f"{FOLDER}/index.md": _index(), **found}


def navigation() -> list[dict[str, str]]:
    """An entry of mkdocs' ``nav`` for each command."""
    return [{f"saldiag {words}": f"{FOLDER}/{_file(words)}"} for words, _, _ in commands()]


def _file(words: str) -> str:
    return f"{words.replace(' ', '-')}.md"


def _index() -> str:
    rows = [
        (f"[`saldiag {words}`]({_file(words)})", _as_code(command.get_short_help_str(120)))
        for words, command, _ in commands()
    ]
    return "\n\n".join(
        [
            "# Command line",
            _prose(cli.help or ""),
            table(("Command", "Purpose"), rows),
            "`saldiag --version` prints the version. Every command has `--help` (`-h`). The"
            " commands that read a recorded run (`report`, `compare`, `fix`) and the lists of rules"
            " (`rules`, `explain`) work without TensorFlow.",
        ]
    )


def _page(command: click.Command, context: click.Context) -> str:
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    parts = [f"# {context.command_path}", _prose(command.help or ""), f"```text\n{usage}\n```"]
    options = [
        (f"`{names}`", _as_code(help_text))
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context))
        for names, help_text in [record]
    ]
    return "\n\n".join([*parts, "## Options", table(("Option", "Meaning"), options)])


def _prose(text: str) -> str:
    return _as_code(inspect.cleandoc(text))


def _as_code(text: str) -> str:
    """Help text as Markdown: options and file names in code."""
    parts = re.split(r"(`[^`]*`)", escaped(text))
    pattern = re.compile(r"(?<![\w-])--[a-z][\w-]*|\.keras\b|\.h5\b|\b[A-Z]+\.py:[A-Z]+\b")
    return "".join(
        part if index % 2 else pattern.sub(lambda found: f"`{found[0]}`", part)
        for index, part in enumerate(parts)
    )
