"""Labels that the inputs do not hold: what is memorised never lowers ``val_loss``."""

from typing import Any

from saldiag.selftest.program import Program, build_chain, compile_model, layers, np
from saldiag.selftest.validation_data import fit_arguments, split_items

EXPECT = "SD804"
FORMS = ("sequential", "functional", "subclassed", "regression")


def _items(seed: int, form: str, *, learnable: bool) -> Any:
    random = np.random.default_rng(seed)
    x = random.normal(size=(176, 24)).astype("float32")
    score = 2 * x[:, :1] if learnable else random.normal(size=(176, 1))
    return x, (score if form == "regression" else score > 0).astype("float32")


def _program(form: str, seed: int, *, learnable: bool) -> Program:
    regression = form == "regression"
    last = layers.Dense(1, activation=None if regression else "sigmoid")
    built = "functional" if regression else form
    model = build_chain(built, (24,), [layers.Dense(64, activation="relu"), last])
    compile_model(model, "mse" if regression else "binary_crossentropy", rate=2e-2)
    return Program(
        model, fit=fit_arguments(*split_items(_items(seed, form, learnable=learnable), 96))
    )


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, learnable=False)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, learnable=True)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
