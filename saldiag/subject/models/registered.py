"""Models with a name on the command line: entry points of the group ``saldiag.models``.

A package registers one in its ``pyproject.toml``::

    [project.entry-points."saldiag.models"]
    my-model = "my_package.saldiag:MY_MODEL"

The object implements ``RegisteredModel``. ``quicksal`` is registered the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

from saldiag.core.errors import ModelError
from saldiag.core.keras_types import KerasModel
from saldiag.core.measurement import Origin

if TYPE_CHECKING:
    from saldiag.subject.models.input_spec import InputSpec

GROUP = "saldiag.models"
"""Name of the entry-point group."""


@dataclass(frozen=True)
class BuiltModel:
    """A registered model, freshly built and not compiled."""

    model: KerasModel
    """The Keras model."""
    origins: tuple[Origin, ...] = ()
    """Where pretrained weights come from, one row per layer; empty if nothing is known."""
    notes: tuple[str, ...] = ()
    """Lines to print, such as why pretrained weights could not be downloaded."""


class RegisteredModel(Protocol):
    """A model with a name on the command line, trained on image-and-mask pairs by a recipe.

    Importing the object must not import TensorFlow: the command line reads it at once.
    """

    @property
    def loss(self) -> str:
        """Name of the loss to compile with if ``--loss`` is not given."""

    @property
    def learning_rate(self) -> float:
        """Learning rate to compile with if ``--learning-rate`` is not given."""

    @property
    def input_range(self) -> tuple[float, float]:
        """Smallest and largest pixel value that the model expects."""

    def parse_variant(self, name: str, variant: str | None) -> tuple[str, ...] | None:
        """Read what follows the colon in ``--model NAME:VARIANT``; None means the default.

        Raises:
            ModelError: the model has no such variant.
        """

    def input_spec(self) -> InputSpec:
        """Shapes of the inputs and of the output."""

    def build(
        self, image_size: int, *, weights: str, seed: int, variant: tuple[str, ...] | None
    ) -> BuiltModel:
        """Build the model for square images with sides of ``image_size`` pixels.

        Raises:
            ModelError: ``image_size`` or ``variant`` is not supported.
            WeightsError: ``weights`` cannot be read or belong to another model.
        """

    def recognises(self, model: KerasModel) -> bool:
        """Whether ``model`` is one that this object builds, possibly loaded from a file."""

    def check_image_size(self, image_size: int) -> None:
        """Accept ``image_size``, in pixels.

        Raises:
            ModelError: the model cannot be built for it.
        """


@cache
def registered_names() -> tuple[str, ...]:
    """Names of the registered models, sorted."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


@cache
def registered_model(name: str) -> RegisteredModel | None:
    """The registered model of that name; None if there is none.

    Raises:
        ModelError: the package that registered it cannot be imported.
    """
    points = tuple(entry_points(group=GROUP, name=name))
    if not points:
        return None
    try:
        found: RegisteredModel = points[0].load()
    except (ImportError, AttributeError) as error:
        raise ModelError(f"--model {name}: {points[0].value} cannot be loaded ({error})") from error
    return found


def builder_of(model: KerasModel) -> RegisteredModel | None:
    """The registered model that ``model`` is an instance of, possibly loaded from a file."""
    for name in registered_names():
        found = registered_model(name)
        if found is not None and found.recognises(model):
            return found
    return None
