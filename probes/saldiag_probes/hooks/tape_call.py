"""The arguments of ``tape.gradient``, and how to ask it for more gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from saldiag.core.keras_types import KerasVariable, Tensor, TFVariable
from saldiag.keras_internals.variables import raw_variable
from saldiag_probes.hooks.engine import HookedCall


class ProgramAndExtra(list[Any]):
    """The program's sources, and extra ones that a subscriber has added."""


@dataclass(frozen=True)
class TapeCall:
    """The arguments of ``tape.gradient(target, sources)``."""

    target: Any
    """What to differentiate, any structure of tensors."""
    sources: Any
    """What to differentiate with respect to, any structure."""
    output_gradients: Any = None
    """Gradients of the target; not None for a link of a longer chain, whose target is no loss."""
    options: tuple[tuple[str, Any], ...] = ()
    """Further arguments."""

    @classmethod
    def of(cls, call: HookedCall) -> TapeCall:
        """The arguments of a hooked call, passed by position or by name."""
        names = ("target", "sources", "output_gradients", "unconnected_gradients")
        given = {**dict(zip(names, call.args, strict=False)), **call.kwargs}
        target, sources, chain = (given.pop(name, None) for name in names[:3])
        return cls(target, sources, chain, tuple(given.items()))

    @property
    def variables(self) -> frozenset[int]:
        """The sources, by ``variable_id``."""
        return frozenset(variable_id(source) for source in tf.nest.flatten(self.sources))

    def with_extra(self, call: HookedCall, extra: Sequence[Tensor]) -> tuple[Any, Any]:
        """Make the call for more sources; returns the program's gradients and the others.

        One backward pass for both: a tape that is not persistent allows only one call, and the
        program's own gradients are those of a call without the extra tensors.
        """
        sources = ProgramAndExtra([self.sources, list(extra)])
        result, more = call.proceed_with(self.target, sources, **dict(self.options))
        return result, more

    def gradients_of_program(self, result: Any) -> Any:
        """The gradients that the program asked for, of a result that may have extra ones."""
        return result[0] if isinstance(self.sources, ProgramAndExtra) else result


def variable_id(variable: KerasVariable | TFVariable) -> int:
    """An identity that a Keras variable and the ``tf.Variable`` behind it share."""
    return id(raw_variable(variable))
