"""A linear model of a product: neither training nor validation items are learned."""

from saldiag.selftest.program import Program, build_chain, compile_model, layers, np
from saldiag.selftest.validation_data import fit_arguments, split_items

EXPECT = "SD805"
FORMS = ("sequential", "functional", "subclassed")


def _program(form: str, seed: int, hidden: int) -> Program:
    random = np.random.default_rng(seed)
    x = random.choice([-1.0, 1.0], size=(640, 4)) + random.normal(scale=0.1, size=(640, 4))
    y = (x[:, :1] * x[:, 1:2] > 0).astype("float32")
    parts = [layers.Dense(hidden, activation="relu")] if hidden else []
    parts += [layers.Dense(1, activation="sigmoid")]
    model = compile_model(build_chain(form, (4,), parts), "binary_crossentropy")
    train, held_out = split_items((x.astype("float32"), y), 512)
    return Program(model, fit=fit_arguments(train, held_out, epochs=8))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 0)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 16)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
