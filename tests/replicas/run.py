"""Runs programs on logical CPU devices, judges them and prints what was found, a line for each.

``python -m tests.replicas.run NAME...`` with names as ``names()`` lists them; all without any.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import traceback
from contextlib import nullcontext
from functools import cache
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from saldiag.core.files.jsonio import jsonable
from saldiag.core.findings.diagnosis import Diagnosis
from saldiag.core.measurement import Measurements
from saldiag.rules.engine.engine import diagnose
from saldiag.subject.source.stack_frames import source_in_traceback
from saldiag_probes.distribution.watching import watching_replicas
from tests.replicas.cases import FAULTS, HEALTHY
from tests.replicas.models import KINDS
from tests.replicas.programs import Program, train

COUNTS = (2, 4)


def names(*, kinds: tuple[str, ...] = tuple(KINDS), counts: tuple[int, ...] = COUNTS) -> list[str]:
    """All programs as ``what/name/kind/replicas``; ``what`` is broken, fixed or healthy."""
    programs = [
        *(
            f"{what}/{name}/{kind}"
            for name, fault in FAULTS.items()
            for what in ("broken", "fixed")
            for kind in kinds
            if kind in fault.kinds
        ),
        *(f"healthy/{name}/{kind}" for name in HEALTHY for kind in kinds),
    ]
    return [f"{program}/{count}" for program in programs for count in counts]


def run(name: str) -> Diagnosis:
    """Run one program and judge it by the rules on distribution."""
    what, case, kind, count = name.split("/")
    program: Program = HEALTHY[case] if what == "healthy" else getattr(FAULTS[case], what)
    strategy = _strategy(int(count))
    with watching_replicas(None, source_in_traceback) as watch:

        def begin(model) -> None:
            watch.model = model

        train(program, KINDS[kind], strategy, begin)
        if watch.failed is not None:
            raise RuntimeError(watch.failed)
        measured = Measurements.of(watch.collect())
    measured = _with_wiring(measured, watch.model, KINDS[kind])
    if os.environ.get("SHOW"):
        sys.stderr.write(json.dumps(jsonable(measured.found["distribution"]), indent=1))
    return diagnose(measured, verdict="not_tested", select=["SD0"])


@cache
def _strategy(count: int):
    """One per process: TensorFlow's collective operations mix up those of a second one."""
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])


def _with_wiring(measured: Measurements, model, kind) -> Measurements:
    from saldiag_probes.survey import survey

    x, _ = kind.data()
    return measured.with_(survey(model, (x[:8],), flow=False, activations=False).wiring)


def weights(name: str, *, watched: bool) -> str:
    """Digest of the weights after a program has trained."""
    what, case, kind, count = name.split("/")
    program: Program = HEALTHY[case] if what == "healthy" else getattr(FAULTS[case], what)
    models: list[Any] = []
    with watching_replicas(None, source_in_traceback) if watched else nullcontext() as watch:

        def begin(model) -> None:
            models.append(model)
            if watch is not None:
                watch.model = model

        train(program, KINDS[kind], _strategy(int(count)), begin)
        if watch is not None:
            assert watch.replicas_seen
            assert watch.failed is None
    digest = hashlib.sha256()
    for value in models[0].get_weights():
        digest.update(value.tobytes())
    return digest.hexdigest()


def _outcome(name: str) -> dict[str, Any]:
    try:
        diagnosis = run(name)
    except Exception as error:
        trace = traceback.format_exc() if os.environ.get("SHOW") else ""
        return {"error": f"{type(error).__name__}: {error}{trace}"[:3000]}
    return {
        "root": diagnosis.root_cause.rule if diagnosis.root_cause else None,
        "findings": [
            (f.rule, f.severity, f.explained_by, f.message, str(f.source))
            for f in diagnosis.findings
        ],
        "skipped": [(s.rule, s.reason) for s in diagnosis.skipped],
    }


def main(arguments: list[str]) -> None:
    """Run the programs; with ``--weights`` each is trained watched and unwatched instead."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * max(COUNTS)
    tf.config.set_logical_device_configuration(cpu, devices)
    wanted = [a for a in arguments if not a.startswith("--")] or names(counts=COUNTS[:1])
    if len({name.rpartition("/")[2] for name in wanted}) > 1:
        sys.exit("one number of replicas per process")
    for name in wanted:
        if "--weights" in arguments:
            found = {
                "unwatched": weights(name, watched=False),
                "watched": weights(name, watched=True),
            }
        else:
            found = _outcome(name)
        sys.stdout.write(json.dumps({"name": name, **found}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
