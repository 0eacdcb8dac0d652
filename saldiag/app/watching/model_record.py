"""What is known about a model under observation, and the states that it goes through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from saldiag.core.measurement import Source


class ModelState(Enum):
    """How far the observation of a model has come."""

    UNSEEN = "unseen"
    """Nothing was examined."""
    EXAMINED = "examined"
    """The model was traced, or it was tried."""
    TRAINING = "training"
    """Its steps are measured."""
    SETTLED = "settled"
    """A training ended: the hooks are removed."""
    COLLECTED = "collected"
    """The measurements of the training are in the session."""


NEXT_STATES: dict[ModelState, frozenset[ModelState]] = {
    ModelState.UNSEEN: frozenset({ModelState.EXAMINED, ModelState.TRAINING, ModelState.SETTLED}),
    ModelState.EXAMINED: frozenset({ModelState.TRAINING, ModelState.SETTLED}),
    ModelState.TRAINING: frozenset({ModelState.SETTLED}),
    ModelState.SETTLED: frozenset({ModelState.COLLECTED, ModelState.TRAINING}),
    ModelState.COLLECTED: frozenset({ModelState.TRAINING, ModelState.SETTLED}),
}
"""The states that may follow each; a state may also follow itself."""


@dataclass(frozen=True)
class ProgramLines:
    """The lines of the program that compile and train a model."""

    compiled: Source | None = None
    """The line that calls ``compile``; None if unknown or not compiled."""
    trained: Source | None = None
    """The line that trains the model; None if unknown."""


@dataclass(frozen=True)
class ModelRecord:
    """An immutable record of one model; each event of the training gives the next one."""

    lines: ProgramLines = ProgramLines()
    """Where the program compiles and trains the model."""
    state: ModelState = ModelState.UNSEEN
    """How far the observation has come."""
    is_examined: bool = False
    """Whether the model was traced, or it was tried."""
    steps: int = 0
    """Training steps so far; a call of a ``tf.function`` counts once."""
    collected_steps: int | None = None
    """Steps at the last collection; None before it, and after an error."""
    ended_in_error: bool = False
    """Whether the last training raised an error."""
    is_alternating: bool = False
    """Whether several losses train the model, or another model trains against it."""

    def advanced(self, state: ModelState) -> ModelRecord:
        """The record in a later state.

        Raises:
            ValueError: that state cannot follow.
        """
        if state is not self.state and state not in NEXT_STATES[self.state]:
            raise ValueError(f"a model that is {self.state.value} cannot become {state.value}")
        examined = self.is_examined or state is ModelState.EXAMINED
        return replace(self, state=state, is_examined=examined)

    def stepped(self) -> ModelRecord:
        """The record after one more step."""
        return replace(self, steps=self.steps + 1)

    def collected(self) -> ModelRecord:
        """The record after its measurements were added to the session."""
        return replace(self.advanced(ModelState.COLLECTED), collected_steps=self.steps)

    def failed(self) -> ModelRecord:
        """The record after a training that raised an error.

        Trainability is then measured with a new step: those of an earlier training show nothing
        about variables that were unfrozen since.
        """
        return replace(self, ended_in_error=True, collected_steps=None)
