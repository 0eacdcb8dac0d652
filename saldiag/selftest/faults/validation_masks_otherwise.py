"""Validation masks are inverted, or in 0 … 255, or belong to other pictures."""

from typing import Any

from saldiag.selftest.program import Program, build_chain, compile_model, layers, np
from saldiag.selftest.validation_data import fit_arguments, split_items, square_mask_data

EXPECT = "SD615"
FORMS = ("inverted", "of_255", "rolled", "shuffled")


def _otherwise(form: str, masks: Any, seed: int) -> Any:
    if form == "inverted":
        return 1 - masks
    if form == "of_255":
        return 255 * masks
    if form == "rolled":
        return np.roll(masks, 1, axis=0)
    return masks[np.random.default_rng(seed).permutation(len(masks))]


def _program(form: str, seed: int, *, right: bool) -> Program:
    train, (x, masks) = split_items(square_mask_data(seed), 64)
    parts = [
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 1, activation="sigmoid"),
    ]
    built = "subclassed" if form in {"of_255", "shuffled"} else "functional"
    model = compile_model(build_chain(built, (16, 16, 3), parts), "binary_crossentropy", rate=2e-2)
    held_out = x, masks if right else _otherwise(form, masks, seed)
    return Program(model, fit=fit_arguments(train, held_out, epochs=6))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, right=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, right=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
