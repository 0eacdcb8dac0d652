"""``quicksal`` and ``quicksal-as-reported`` as registered models (``--model quicksal``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saldiag.core.errors import ModelError
from saldiag.keras_internals.layers import flattened_layers
from saldiag.subject.models.registered import BuiltModel

if TYPE_CHECKING:
    from saldiag.subject.models.input_spec import InputSpec


@dataclass(frozen=True)
class RegisteredQuicksal:
    """QUICKSAL: square RGB images in [-1, 1] to one saliency value in [0, 1] per pixel."""

    construct: Callable[[tuple[str, ...] | None, int, Any, int], Any]
    """Builds the Keras model from variant, image size, encoder weights and seed."""
    has_variants: bool = False
    """Whether ``--model NAME:FAULT,FAULT`` chooses faults."""
    loss: str = "mae"
    """Loss of the reported training."""
    learning_rate: float = 1e-3
    """Adam's rate for the overfit test; the training recipe has a cycle instead."""
    input_range: tuple[float, float] = (-1.0, 1.0)
    """Pixel values that MobileNetV2's weights expect."""

    def parse_variant(self, name: str, variant: str | None) -> tuple[str, ...] | None:
        """The faults after the colon; None if there is no colon.

        Raises:
            ModelError: this model has no faults to choose.
        """
        if variant is None:
            return None
        if not self.has_variants:
            raise ModelError(
                f"--model {name}:{variant}: only quicksal-as-reported takes faults after the colon"
            )
        return tuple(fault.strip() for fault in variant.split(",") if fault.strip())

    def input_spec(self) -> InputSpec:
        """Images and masks of any size divisible by 32."""
        from saldiag.subject.models.input_spec import InputSpec

        return InputSpec((("image", (None, None, None, 3)),), output_shape=(None, None, None, 1))

    def build(
        self, image_size: int, *, weights: str, seed: int, variant: tuple[str, ...] | None
    ) -> BuiltModel:
        """Build the model and load the encoder's weights.

        Raises:
            ModelError: an unknown fault, or ``image_size`` is not divisible by 32.
            WeightsError: the weights cannot be read or belong to another model.
        """
        from saldiag.quicksal.pretrained.origins import weight_origins
        from saldiag.quicksal.pretrained.weights import load_encoder_weights

        encoder = load_encoder_weights(weights)
        model = self.construct(variant, image_size, encoder, seed)
        return BuiltModel(model, weight_origins(model), (encoder.note,) if encoder.note else ())

    def recognises(self, model: Any) -> bool:
        """Whether ``model`` has QUICKSAL's inception blocks."""
        from saldiag.quicksal.blocks.inception import InceptionBlock

        return any(isinstance(layer, InceptionBlock) for layer in flattened_layers(model))

    def check_image_size(self, image_size: int) -> None:
        """Accept sizes divisible by 32.

        Raises:
            ModelError: any other size.
        """
        from saldiag.quicksal.blocks.encoder import check_image_size

        check_image_size(image_size)


def _repaired(_: tuple[str, ...] | None, image_size: int, weights: Any, seed: int) -> Any:
    from saldiag.quicksal.model import quicksal

    return quicksal(image_size, weights=weights, seed=seed)


def _as_reported(faults: tuple[str, ...] | None, image_size: int, weights: Any, seed: int) -> Any:
    from saldiag.quicksal.as_reported import FAULTS, quicksal_as_reported

    chosen = FAULTS if faults is None else faults
    return quicksal_as_reported(chosen, image_size, weights=weights, seed=seed)


QUICKSAL = RegisteredQuicksal(_repaired)
QUICKSAL_AS_REPORTED = RegisteredQuicksal(_as_reported, has_variants=True)
