"""Pictures and masks that were shuffled one without the other."""

from saldiag.selftest.program import (
    FORMS,
    Program,
    build_chain,
    compile_model,
    layers,
    mask_data,
    np,
)

EXPECT = "SD607"


def _program(form: str, seed: int, *, shuffled: bool) -> Program:
    x, masks = mask_data(seed, 48, side=16)
    if shuffled:
        masks = masks[np.random.default_rng(seed).permutation(48)]
    parts = [
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]
    model = compile_model(build_chain(form, (16, 16, 3), parts), "binary_crossentropy")
    return Program(model, [(x, masks)], 60)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, shuffled=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, shuffled=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
