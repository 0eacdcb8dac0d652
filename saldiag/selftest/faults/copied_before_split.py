"""Sequences that were copied to make more of them, and split afterwards."""

from saldiag.selftest.program import FORMS, FitPlan, Program, build_chain, compile_model, layers, np

EXPECT = "SD608"


def _waves(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (64, 12, 2) of which the label (64, 1) says whether they swing fast."""
    random = np.random.default_rng(seed)
    fast = np.arange(64) % 2
    time = np.arange(12)[None, :] * (0.4 + 0.8 * fast[:, None])
    start = random.uniform(0, 6, size=(64, 1))
    x = np.stack([np.sin(time + start), np.cos(time + start)], axis=-1)
    x += random.normal(scale=0.1, size=x.shape)
    return x.astype("float32"), fast[:, None].astype("float32")


def _program(form: str, seed: int, *, copied_first: bool) -> Program:
    x, y = _waves(seed)
    order = np.random.default_rng(seed).permutation(64)
    training, held_out = np.repeat(order[:48], 2), order[48:]
    if copied_first:
        copies = np.random.default_rng(seed).permutation(np.repeat(order, 2))
        training, held_out = copies[:96], copies[96:]
    parts = [layers.LSTM(16), layers.Dense(1, activation="sigmoid")]
    model = compile_model(build_chain(form, (12, 2), parts), "binary_crossentropy")
    data = (x[training], y[training])
    plan = FitPlan(data=data, validation=[(x[held_out], y[held_out])], epochs=10)
    return Program(model, [(data[0][:32], data[1][:32])], plan=plan)


def broken(form: str, seed: int) -> Program:
    return _program(form, seed, copied_first=True)


def fixed(form: str, seed: int) -> Program:
    return _program(form, seed, copied_first=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
