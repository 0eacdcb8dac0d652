"""Rehearsing a distributed training on the CPU: ``saldiag run --replicas N``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from saldiag.core.errors import SaldiagError
from saldiag.core.patching import patched
from saldiag.subject.source.stack_frames import is_user_file

MIRRORED = "MirroredStrategy"
LEFT_ALONE = (
    "MultiWorkerMirroredStrategy",
    "OneDeviceStrategy",
    "ParameterServerStrategy",
    "TPUStrategy",
)
"""Strategies that keep the devices that the program gives them."""


@contextmanager
def rehearsing(replicas: int | None, note: Callable[[str], None]) -> Iterator[None]:
    """Until the block ends, the CPU counts as ``replicas`` devices, and as that many GPUs.

    A ``MirroredStrategy`` gets the parts of the CPU as its devices, unless it is given CPU devices
    already. For the program's own lines TensorFlow lists ``replicas`` GPUs, because a program that
    looks for several of them would else train on one device; memory growth and visibility of these
    GPUs do nothing. Keras and TensorFlow see the machine as it is, without its GPUs.

    Args:
        replicas: number of devices; None to change nothing.
        note: prints what was rehearsed.

    Raises:
        SaldiagError: TensorFlow has set up its devices already.
    """
    if replicas is None:
        yield
        return
    import tensorflow as tf

    _cut_cpu(replicas)
    rehearsal = _Rehearsal(replicas)
    with ExitStack() as stack:
        for name in (MIRRORED, *LEFT_ALONE):
            strategy = getattr(tf.distribute, name)
            init = rehearsal.strategy_init(name, strategy.__init__)
            stack.enter_context(patched(strategy, "__init__", init))
        for module in (tf.config, tf.config.experimental):
            for name in _DEVICE_FUNCTIONS:
                if hasattr(module, name):
                    replacement = rehearsal.device_function(name, getattr(module, name))
                    stack.enter_context(patched(module, name, replacement))
        yield
    for line in rehearsal.lines():
        note(line)


_DEVICE_FUNCTIONS = (
    "get_memory_growth",
    "get_visible_devices",
    "list_logical_devices",
    "list_physical_devices",
    "set_logical_device_configuration",
    "set_memory_growth",
    "set_virtual_device_configuration",
    "set_visible_devices",
)


def _cut_cpu(replicas: int) -> None:
    import tensorflow as tf

    try:
        cpu = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * replicas
        tf.config.set_logical_device_configuration(cpu, parts)
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:
        raise SaldiagError(
            "--replicas: TensorFlow has set up its devices already, and they cannot be changed"
        ) from error


class _Rehearsal:
    """What the program does with strategies and devices."""

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas
        self._rehearsed: list[int] = []
        self._kept: list[str] = []
        self._making = False

    def strategy_init(self, name: str, original: Callable[..., None]) -> Callable[..., None]:
        """A strategy's ``__init__`` that gets the parts of the CPU, or is noted."""

        @functools.wraps(original)
        def init(strategy: Any, *args: Any, **kwargs: Any) -> None:
            if self._making:  # one strategy makes another
                original(strategy, *args, **kwargs)
                return
            self._making = True
            try:
                if name == MIRRORED:
                    args, kwargs = self._with_cpu_devices(args, kwargs)
                else:
                    self._kept.append(name)
                original(strategy, *args, **kwargs)
            finally:
                self._making = False
            if name == MIRRORED:
                self._rehearsed.append(int(strategy.num_replicas_in_sync))

        return init

    def _with_cpu_devices(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments of ``MirroredStrategy``, on the parts of the CPU.

        NCCL reduces on GPUs only: its place takes the default.
        """
        given = dict(zip(("devices", "cross_device_ops"), args, strict=False)) | kwargs
        devices = [str(device) for device in given.get("devices") or ()]
        if not devices or not all("CPU" in device.upper() for device in devices):
            given["devices"] = [f"CPU:{number}" for number in range(self._replicas)]
            if type(given.get("cross_device_ops")).__name__ == "NcclAllReduce":
                given["cross_device_ops"] = None
        return (), given

    def device_function(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """A function of ``tf.config`` that, called by the program, knows the GPUs."""
        import tensorflow as tf

        kind = tf.config.LogicalDevice if "logical_devices" in name else tf.config.PhysicalDevice
        prefix = "/device:" if "logical_devices" in name else "/physical_device:"

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not is_user_file(sys._getframe(1).f_code.co_filename):
                return original(*args, **kwargs)
            if name.startswith("list_") or name == "get_visible_devices":
                return self._listed(
                    original, kind, prefix, kwargs.get("device_type", args[0] if args else None)
                )
            return None if _names_gpu((args, kwargs)) else original(*args, **kwargs)

        return call

    def _listed(self, original: Callable[..., Any], kind: Any, prefix: str, wanted: Any) -> Any:
        gpus = [kind(f"{prefix}GPU:{number}", "GPU") for number in range(self._replicas)]
        if wanted == "GPU":
            return gpus
        found = original(wanted)
        return [*found, *gpus] if wanted is None else found

    def lines(self) -> list[str]:
        """What was rehearsed, for the user."""
        lines = []
        if self._rehearsed:
            counts = " and ".join(str(count) for count in dict.fromkeys(self._rehearsed))
            lines.append(f"rehearsed on the CPU: MirroredStrategy with {counts} replicas")
        lines += [
            f"--replicas {self._replicas}: {name} keeps the program's own devices"
            for name in dict.fromkeys(self._kept)
        ]
        if not self._rehearsed and not self._kept:
            lines.append(
                f"--replicas {self._replicas}: the program creates no tf.distribute strategy; it "
                "ran on one device"
            )
        return lines


def _names_gpu(value: Any) -> bool:
    """Whether arguments name a GPU or the device type GPU."""
    if isinstance(value, (list, tuple)) and not hasattr(value, "device_type"):
        return any(_names_gpu(part) for part in value)
    if isinstance(value, dict):
        return any(_names_gpu(part) for part in value.values())
    return bool(getattr(value, "device_type", value) == "GPU")
