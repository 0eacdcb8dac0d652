"""Four noisy items to validate with: val_loss leaves the loss by chance."""

from saldiag.selftest.program import Program, build_chain, compile_model, layers, np
from saldiag.selftest.validation_data import fit_arguments

EXPECT = "SD806"
FORMS = ("sequential", "functional", "subclassed")


def _program(form: str, seed: int, held_out: int) -> Program:
    random = np.random.default_rng(seed)
    x = random.normal(size=(256 + held_out, 6)).astype("float32")
    noise = random.normal(scale=0.3, size=(len(x), 1))
    if held_out < 8:  # one of the few is far off
        noise[-1] = 6.0
    y = (x @ random.normal(size=(6, 1)) + noise).astype("float32")
    parts = [layers.Dense(16, activation="relu"), layers.Dense(1)]
    model = compile_model(build_chain(form, (6,), parts), "mse")
    return Program(model, fit=fit_arguments((x[:256], y[:256]), (x[256:], y[256:]), epochs=8))


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, 4)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, 64)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
