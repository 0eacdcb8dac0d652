"""When to measure: a schedule is a plain function from the step number to yes or no.

The shape follows Cockpit (Schneider, Dangel, Hennig, NeurIPS 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], bool]
"""``schedule(step)`` says whether to measure at that step; steps count from 0."""


def every(interval: int) -> Schedule:
    """Measure at step 0 and at every ``interval``-th step after it.

    Raises:
        ValueError: ``interval`` is below 1.
    """
    if interval < 1:
        raise ValueError(f"an interval must be at least 1 step, not {interval}")
    return lambda step: step % interval == 0


def never(step: int) -> bool:  # noqa: ARG001 - the signature of a schedule
    """Measure at no step."""
    return False


def logarithmic(per_decade: int = 5) -> Schedule:
    """Measure often at the start and ever more rarely: ``per_decade`` steps in each decade.

    Raises:
        ValueError: ``per_decade`` is below 1.
    """
    if per_decade < 1:
        raise ValueError(f"a decade must have at least 1 step, not {per_decade}")

    def schedule(step: int) -> bool:
        if step < per_decade:
            return True
        position = math.log10(step) * per_decade
        before = math.log10(step - 1) * per_decade
        return math.floor(position) > math.floor(before)

    return schedule


PRESETS: dict[str, Callable[[], Schedule]] = {
    "economy": logarithmic,
    "business": lambda: every(10),
    "full": lambda: every(1),
}
"""Named by price, as in Cockpit: what a measurement costs is paid at each step it says yes to."""


def resolve_schedule(schedule: str | Schedule) -> Schedule:
    """The schedule itself, or the preset of that name.

    Raises:
        ValueError: there is no preset of that name.
    """
    if not isinstance(schedule, str):
        return schedule
    if schedule not in PRESETS:
        raise ValueError(f"no schedule is named {schedule!r}: choose from {', '.join(PRESETS)}")
    return PRESETS[schedule]()
