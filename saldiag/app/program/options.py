"""What is asked for of the models that a program trains, and of ``saldiag run``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from saldiag.app.session.options import Wishes
from saldiag.app.session.settings import RuleChoice
from saldiag.core.findings.finding import Severity
from saldiag.core.training.schedule import Schedule

MODELS = 8
"""Models of one program that are looked at: a search over settings builds hundreds."""


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """How models are watched.

    ``steps`` ends each training after so many; ``overfit`` adds the overfit test before it, of
    ``max_steps`` steps and ``budget`` seconds at the most, and ``experiments`` what is asked of
    experiments, which follow it; ``stop_early`` ends the program once the verdict is certain;
    ``probes`` says at which steps gradients are measured.
    """

    steps: int | None = None
    overfit: bool = False
    budget: float = 60.0
    max_steps: int = 200
    experiments: Wishes | None = None
    stop_early: bool = False
    probes: str | Schedule = "economy"


@dataclass(frozen=True)
class ProgramOptions(WatchOptions):
    """Options of ``saldiag run``; ``compat`` lets a program use what Keras 2 and numpy 1 had."""

    script: Path
    arguments: tuple[str, ...] = ()
    compat: bool = False
    out: Path | None = None
    output_format: str = "text"
    fail_on: Severity = "error"
    rules: RuleChoice = field(default_factory=RuleChoice)

    def config(self) -> dict[str, Any]:
        """The options as ``run.json`` records them."""
        values = {key: str(v) if isinstance(v, Path) else v for key, v in asdict(self).items()}
        return {key: value for key, value in values.items() if key != "rules"}
