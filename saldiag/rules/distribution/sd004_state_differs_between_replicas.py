"""SD004: the replicas no longer train the same model."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from saldiag.core.findings.finding import Finding, Severity
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Distribution, Measurements
from saldiag.core.wording import label, number

_KINDS: tuple[tuple[Collection[str], str, str, Severity, str], ...] = (
    (
        ("weight", "slot"),
        "state",
        "weights or optimizer variables",
        "error",
        "optimizer.apply_gradients(zip(gradients, variables))  # in strategy.run; assign variables "
        "only outside of it",
    ),
    (
        ("statistic",),
        "statistics",
        "BatchNorm statistics",
        "warning",
        "keras.layers.BatchNormalization(synchronized=True)  # and shuffle before distributing",
    ),
)


class StateDiffersBetweenReplicas(Rule):
    """The replicas' copies of weights, optimizer state or BatchNorm statistics differ.

    ## What it does
    Compares the copies of each trainable weight and optimizer variable, which must be equal, and
    the moving statistics of BatchNormalization, which Keras 3 updates in each replica from its own
    items and which must be close. Different weights are an error, different statistics a warning.

    ## Why is this bad
    Replicas with different weights are different models, and only the first is saved. The same
    holds for statistics: the saved model normalises with those of one replica's items.

    ## Example
    ```python
    for copy in strategy.experimental_local_results(variable):
        copy.assign(new_value(copy))
    ```

    ## Use instead
    ```python
    variable.assign(new_value(variable))  # outside of strategy.run, in strategy.scope()
    ```

    ## Threshold
    - `state` = 1e-4: largest difference between two copies of a weight or optimizer variable,
      relative to its root mean square. The rounding of float32 stays below (Goldberg, What Every
      Computer Scientist Should Know About Floating-Point Arithmetic, 1991).
    - `statistics` = 2: largest distance of two moving means, in moving standard deviations. Beyond
      it an average activation of one replica's items is an outlier to another's (Ioffe & Szegedy,
      Batch Normalization, 2015); below it, small datasets differ by chance.
    - `deviations` = 5: the same distance in standard deviations of what chance makes of it with few
      items per replica and a low momentum.
    """

    code = "SD004"
    name = "state-differs-between-replicas"
    severity = "error"
    requires = (Distribution,)
    thresholds = {"state": 1e-4, "statistics": 2, "deviations": 5}
    explains = {"SD802": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        distribution = measured.need(Distribution)
        if distribution.replicas < 2:
            return
        if not distribution.spread:
            raise CannotJudge("the copies of the variables were not read")
        for roles, limit, what, severity, fix in _KINDS:
            apart = [
                row
                for row in distribution.spread
                if row.role in roles
                and not row.difference <= max(limits[limit], limits["deviations"] * row.noise)
            ]
            if not apart:
                continue
            worst = max(apart, key=lambda row: row.difference)
            yield self.finding(
                f"the {distribution.replicas} replicas hold different {what}: those of "
                f"{label(worst.path)} differ by {number(worst.difference)} (threshold "
                f"{number(limits[limit])}; above it: {len(apart)} of "
                f"{_count(distribution, roles)}). Only the first replica's copy is saved",
                fix,
                layers=[row.path for row in apart if row.role == "statistic"],
                evidence={
                    "difference": worst.difference,
                    "threshold": limits[limit],
                    "variable": worst.path,
                    "role": worst.role,
                    "above": len(apart),
                },
                severity=severity,
            )


def _count(distribution: Distribution, roles: Collection[str]) -> int:
    return sum(row.role in roles for row in distribution.spread)
