"""Files as SARIF names them."""

from __future__ import annotations

from pathlib import PurePath
from urllib.parse import quote


def artifact(file: str) -> dict[str, str]:
    """A file as a URI: relative to the root of the sources, unless it lies elsewhere."""
    path = PurePath(file)
    uri = quote(path.as_posix().encode("utf-8", "surrogatepass"))
    if path.is_absolute():
        return {"uri": f"file://{uri}"}
    return {"uri": uri, "uriBaseId": "%SRCROOT%"}
