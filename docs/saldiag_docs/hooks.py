"""What mkdocs calls: adds the generated pages, and turns rule codes into links."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from saldiag_docs import (
    command_line,
    measurement_page,
    rooms_picture,
    rule_pages,
    schema_pages,
)
from saldiag_docs.markdown import with_rule_links

GENERATORS = (command_line, rule_pages, schema_pages, measurement_page, rooms_picture)
NAVIGATION = {"@commands": command_line, "@rules": rule_pages, "@schemas": schema_pages}
"""Entries of ``nav`` in mkdocs.yml in whose place the generated ones are put."""

log = logging.getLogger("mkdocs.hooks.saldiag")


def on_config(config: MkDocsConfig) -> None:
    """Put the generated pages into the navigation."""
    config.nav = _with_generated(config.nav)


def _with_generated(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {title: _with_generated(value) for title, value in entry.items()}
    if not isinstance(entry, list):
        return entry
    found: list[Any] = []
    for part in entry:
        generator = NAVIGATION.get(part) if isinstance(part, str) else None
        found += generator.navigation() if generator else [_with_generated(part)]
    return found


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the generated pages."""
    for generator in GENERATORS:
        for path, text in generator.pages().items():
            if files.get_file_from_path(path) is not None:
                log.warning("%s is written by hand and generated", path)
            files.append(File.generated(config, path, content=text))


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Link each rule code to the page of that rule."""
    return with_rule_links(markdown, page.file.src_uri, rule_pages.codes())
