"""Options of ``saldiag run``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from saldiag.app.session.flags import flag
from saldiag.app.session.options import BackendChoice, backend_flag
from saldiag.app.session.settings import RuleChoice
from saldiag.app.watching.options import WatchOptions
from saldiag.core.findings.finding import Severity


@dataclass(frozen=True)
class ProgramOptions(WatchOptions):
    """Options of ``saldiag run``."""

    script: Path
    """A Python file or a notebook."""
    arguments: tuple[str, ...] = ()
    """Arguments of the script."""
    compat: bool = flag(
        "Emulate names that Keras 3 and NumPy 2 removed, and report replacements.", default=False
    )
    """Whether names of Keras 1 and 2 and of NumPy 1 work."""
    backend: BackendChoice = backend_flag()
    """What to do if Keras is set to another backend than TensorFlow."""
    replicas: int | None = flag(
        "Rehearse on N replicas: cut the CPU into N devices for the program's MirroredStrategy.",
        default=None,
        metavar="N",
        minimum=2,
    )
    """Devices that the CPU is cut into for the program's strategy; None for the machine's own."""
    out: Path | None = None
    """Run directory; None for a new one in ``saldiag-runs``."""
    output_format: str = "text"
    """What to print, one of ``CHECK_FORMATS``."""
    fail_on: Severity = "error"
    """Least severity of a finding for exit code 1."""
    rules: RuleChoice = field(default_factory=RuleChoice)
    """Rules to apply, as given on the command line."""
    command_line: tuple[str, ...] = ()
    """Arguments as typed, for ``run.json``; empty if not called from the command line."""
    typed: str = ""
    """The script as it was typed, the program's ``sys.argv[0]``; empty for ``script``."""

    def config(self) -> dict[str, Any]:
        """The options as ``run.json`` records them."""
        values = {key: str(v) if isinstance(v, Path) else v for key, v in asdict(self).items()}
        hidden = ("rules", "command_line", "typed")
        return {key: value for key, value in values.items() if key not in hidden}
