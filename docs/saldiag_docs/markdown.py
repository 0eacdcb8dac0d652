"""Pieces of Markdown that the generated pages are made of."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence

RULE_CODE = re.compile(
    r"""(?P<kept> ^(?P<fence>```+).*?^(?P=fence) | `[^`\n]*` | !?\[[^\]]*\]\([^)]*\) | ^\#.*?$
      | <[^>]*> ) | (?P<code>\bSD[0-9]{3}\b)""",
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
"""A rule's code, or a piece of Markdown in which codes are not turned into links."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; line breaks and ``|`` in cells are made safe."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    joined = "<br>".join(line.strip() for line in text.strip().splitlines())
    return re.sub(r"(?<!\\)\|", r"\\|", joined)


def escaped(text: str) -> str:
    """Plain text, with what Markdown and HTML would read as markup made safe outside of code."""
    parts = re.split(r"(`+[^`]*`+)", text)
    return "".join(
        part if index % 2 else part.replace("&", "&amp;").replace("<", "&lt;").replace("*", r"\*")
        for index, part in enumerate(parts)
    )


def relative(target: str, page: str) -> str:
    """The address of a source file as seen from the page at ``page``, both below docs/."""
    return posixpath.relpath(target, posixpath.dirname(page) or ".")


def with_rule_links(markdown: str, page: str, codes: frozenset[str]) -> str:
    """``markdown`` with every known rule code outside code, links and headings as a link."""

    def link(match: re.Match[str]) -> str:
        code = match["code"]
        if code not in codes or page == f"rules/{code}.md":
            return match[0]
        return f"[{code}]({relative(f'rules/{code}.md', page)})"

    return RULE_CODE.sub(link, markdown)
