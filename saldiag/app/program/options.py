"""Options of ``saldiag run``, and of watching the models of a program."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from saldiag.app.session.flags import flag
from saldiag.app.session.options import BackendChoice, ExperimentOptions, backend_flag
from saldiag.app.session.settings import RuleChoice
from saldiag.core.findings.finding import Severity
from saldiag.core.training.schedule import PRESETS, Schedule

MAX_MODELS = 8
"""Largest number of models of one program to examine: a hyperparameter search builds hundreds."""


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """How the models of a program are watched."""

    steps: int | None = flag(
        "End each training after N steps.", default=None, metavar="N", minimum=1
    )
    """Training steps after which each training ends; None for no limit."""
    overfit: bool = flag("First check whether the model can memorise a few batches.", default=False)
    """Whether an overfit test precedes the training."""
    budget: float = flag("Time limit of --overfit, in seconds.", default=60.0, minimum=1.0)
    """Seconds of training in the overfit test."""
    max_steps: int = flag("Maximum number of training steps of --overfit.", default=200, minimum=1)
    """Training steps in the overfit test."""
    experiments: ExperimentOptions | None = None
    """Experiments to run after the overfit test; None for none."""
    stop_early: bool = flag("End the program as soon as the verdict is certain.", default=False)
    """Whether the program ends once the verdict is certain."""
    probes: str | Schedule = flag(
        "How often to measure gradients.", default="economy", choices=tuple(PRESETS)
    )
    """Steps at which gradients are measured: a schedule or the name of one."""


@dataclass(frozen=True)
class ProgramOptions(WatchOptions):
    """Options of ``saldiag run``."""

    script: Path
    """A Python file or a notebook."""
    typed: str = ""
    """The script as it was typed, the program's ``sys.argv[0]``; empty for ``script``."""
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

    def config(self) -> dict[str, Any]:
        """The options as ``run.json`` records them."""
        values = {key: str(v) if isinstance(v, Path) else v for key, v in asdict(self).items()}
        hidden = ("rules", "command_line", "typed")
        return {key: value for key, value in values.items() if key not in hidden}
