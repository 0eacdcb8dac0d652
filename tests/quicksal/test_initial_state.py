"""How QUICKSAL's decoder starts: depthwise kernels that keep the signal, statistics that follow."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

SIZE = 32


def blocks(model: Any) -> list[Any]:
    from saldiag.quicksal.blocks.inception import InceptionBlock

    return [layer for layer in model.layers if isinstance(layer, InceptionBlock)]


def norms(block: Any) -> list[Any]:
    return [block.expand_norm, *block.branch_norms, block.project_norm, block.upsample_norm]


@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_depthwise_kernel_keeps_the_variance_behind_a_relu(keras: Any, size: int) -> None:
    from saldiag.quicksal.blocks.initializers import PerChannelScaling

    layer = keras.layers.DepthwiseConv2D(
        size, use_bias=False, depthwise_initializer=PerChannelScaling(seed=1)
    )
    signal = np.random.default_rng(0).normal(size=(4, 12, 12, 480))
    outputs = np.asarray(layer(np.maximum(signal, 0).astype(np.float32)))
    variance = (outputs**2).mean((0, 1, 2))  # of each channel, over the kernel's random signs
    assert 0.75 < variance.mean() < 1.3
    glorot = keras.layers.DepthwiseConv2D(size, use_bias=False)
    glorot(np.zeros((1, 12, 12, 480), np.float32))
    assert np.var(glorot.kernel) < 0.01 * np.var(layer.kernel)


def test_the_initializer_comes_back_from_its_config(keras: Any) -> None:
    from saldiag.quicksal.blocks.initializers import PerChannelScaling

    made = PerChannelScaling(1.5, seed=7)
    again = keras.initializers.deserialize(keras.initializers.serialize(made))
    assert isinstance(again, PerChannelScaling)
    assert again.get_config() == made.get_config()
    np.testing.assert_array_equal(again((3, 3, 8, 1)), made((3, 3, 8, 1)))
    bound = np.sqrt(3 * 1.5 / 9)
    assert 0.9 * bound < np.abs(made((3, 3, 8, 1))).max() <= bound


def test_a_block_comes_back_from_its_config_and_from_an_older_one(keras: Any) -> None:
    from saldiag.quicksal.blocks.inception import InceptionBlock
    from saldiag.quicksal.blocks.initializers import PerChannelScaling

    made = InceptionBlock(
        4, 8, (1, 3), depthwise_initializer=PerChannelScaling(seed=3), momentum=0.8
    )
    again = InceptionBlock.from_config(made.get_config())
    assert again.get_config() == made.get_config()
    assert {norm.momentum for norm in norms(again)} == {0.8}
    for branch in again.branches:
        assert isinstance(branch.depthwise_initializer, PerChannelScaling)

    older = {k: v for k, v in made.get_config().items() if k not in ("depthwise_initializer",
                                                                     "momentum")}  # fmt: skip
    again = InceptionBlock.from_config(older)
    assert {norm.momentum for norm in norms(again)} == {0.99}
    for branch in again.branches:
        assert isinstance(branch.depthwise_initializer, keras.initializers.GlorotUniform)


@pytest.mark.slow
def test_quicksal_starts_with_the_signal_and_with_statistics_that_follow(tmp_path: Path) -> None:
    import keras

    from saldiag.quicksal.blocks.decoder import MOMENTUM
    from saldiag.quicksal.blocks.initializers import PerChannelScaling
    from saldiag.quicksal.model import quicksal

    model = quicksal(SIZE, weights="random")
    path = tmp_path / "model.keras"
    model.save(path)
    for made in (model, keras.models.load_model(path)):
        for block in blocks(made):
            assert {norm.momentum for norm in norms(block)} == {MOMENTUM}
            for branch in block.branches:
                assert isinstance(branch.depthwise_initializer, PerChannelScaling)
                inputs = branch.kernel_size[0] ** 2
                assert np.var(branch.kernel) == pytest.approx(2 / inputs, rel=0.15)


@pytest.mark.slow
def test_the_case_starts_as_it_did() -> None:
    """Glorot's kernels, drawn from seed and name alone, and Keras' own momentum."""
    import keras

    from saldiag.quicksal.as_reported import quicksal_as_reported

    model = quicksal_as_reported((), SIZE, weights="random", seed=5)
    found = blocks(model)
    assert len(found) == 5
    for block in found:
        assert {norm.momentum for norm in norms(block)} == {0.99}
        for convolution in block.convolutions():
            seed = zlib.crc32(f"5/{block.name}/{convolution.name}".encode())
            drawn = keras.initializers.GlorotUniform(seed=seed)(convolution.kernel.shape)
            np.testing.assert_array_equal(convolution.kernel, drawn)
