"""Every step of a recurrent network is set against the one target of the sequence."""

from saldiag.selftest.program import FORMS, Program, build_chain, compile_model, layers, np

EXPECT = "SD108"


def _program(form: str, seed: int, *, every_step: bool) -> Program:
    x = np.random.default_rng(seed).normal(size=(32, 6, 3)).astype("float32")
    parts = [
        layers.GRU(24, return_sequences=every_step, name="reader"),
        layers.Dense(1, name="answer"),
    ]
    model = compile_model(build_chain(form, (6, 3), parts), "mse")
    return Program(model, [(x, x[:, -1, :1] * x[:, 0, 1:2])])


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, every_step=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, every_step=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
