"""File names as SARIF writes them."""

from __future__ import annotations

from pathlib import PurePath
from urllib.parse import quote


def artifact_location(file: str) -> dict[str, str]:
    """A SARIF ``artifactLocation``: a URI relative to the source root, unless it is absolute."""
    path = PurePath(file)
    uri = quote(path.as_posix().encode("utf-8", "surrogatepass"))
    if path.is_absolute():
        return {"uri": f"file://{uri}"}
    return {"uri": uri, "uriBaseId": "%SRCROOT%"}
