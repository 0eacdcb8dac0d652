"""A network of ``keras.applications`` that rescales its input, fed with pictures in [-1, 1]."""

from saldiag.selftest.program import Program, compile_model, keras, np

EXPECT = "SD612"
FORMS = ("functional",)


def _program(seed: int, *, scaled: bool) -> Program:
    random = np.random.default_rng(seed)
    kinds = np.arange(6) % 3
    x = random.uniform(0, 120, size=(6, 32, 32, 3)).astype("float32")
    x[np.arange(6), :, :, kinds] += 135
    model = keras.applications.MobileNetV3Small(
        weights=None, input_shape=(32, 32, 3), classes=3, minimalistic=True
    )
    compile_model(model, "sparse_categorical_crossentropy", rate=1e-3)
    return Program(model, [(x / 127.5 - 1 if scaled else x, kinds)], steps=8)


def broken(form: str, seed: int) -> Program:
    return _program(seed, scaled=True)


def fixed(form: str, seed: int) -> Program:
    return _program(seed, scaled=False)


__all__ = ["EXPECT", "FORMS", "broken", "fixed"]
