"""MobileNetV2's ImageNet weights from ``keras.applications``, without waiting long when offline."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from saldiag.core.errors import WeightsError
from saldiag.core.measurement import Array

WEIGHTS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
"""File name of the weights, as Keras downloads them."""
REACHABLE_SECONDS = 4.0
"""Seconds that the server may take to answer, including the name lookup."""
STALL_SECONDS = 15.0
"""Seconds that a download may receive nothing."""


def imagenet_layers() -> dict[str, list[Array]]:
    """Weights by layer name, from Keras' cache or downloaded into it.

    Raises:
        WeightsError: they are not cached and cannot be downloaded, or the cached file is damaged.
    """
    import keras

    from saldiag.keras_internals.applications import mobilenet_v2_address

    cached = _cache_path()
    found = cached.exists()
    if not found:
        _check_reachable(mobilenet_v2_address() + WEIGHTS_FILE)
    try:
        with contextlib.redirect_stdout(sys.stderr), _stalling_after(STALL_SECONDS):
            model = keras.applications.MobileNetV2((224, 224, 3), include_top=False)
    except Exception as error:  # Keras raises Exception itself when a download fails
        reason = " ".join(str(error).split())
        what = f"in {cached} are damaged, delete the file" if found else "cannot be downloaded"
        raise WeightsError(f"ImageNet weights {what} ({reason})") from error
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def _cache_path() -> Path:
    """The cached file of ``keras.utils.get_file``: at home, or in /tmp if that is read-only."""
    from saldiag.keras_internals.applications import cache_folder

    home = Path(cache_folder())
    base = home if os.access(home, os.W_OK) else Path("/tmp", ".keras")  # noqa: S108 - Keras' own
    return base / "models" / WEIGHTS_FILE


def _check_reachable(address: str) -> None:
    """Request the file's headers within ``REACHABLE_SECONDS``.

    In a thread, because no timeout limits a name lookup in a network that drops packets.

    Raises:
        WeightsError: the server cannot be reached.
    """
    outcome: list[str] = []

    def request_head() -> None:
        request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - Keras' https one
        try:
            with urllib.request.urlopen(request, timeout=REACHABLE_SECONDS):  # noqa: S310
                outcome.append("")
        except (OSError, ValueError) as error:
            outcome.append(" ".join(str(getattr(error, "reason", error)).split()))

    thread = threading.Thread(target=request_head, daemon=True)
    thread.start()
    thread.join(REACHABLE_SECONDS)
    reason = outcome[0] if outcome else f"no answer within {REACHABLE_SECONDS:g} s"
    if reason:
        raise WeightsError(
            f"ImageNet weights are not in Keras' cache and cannot be downloaded ({reason})"
        )


@contextlib.contextmanager
def _stalling_after(seconds: float) -> Iterator[None]:
    """Make connections opened in the block fail after receiving nothing for ``seconds``."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
