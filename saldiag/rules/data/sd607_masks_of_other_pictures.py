"""SD607: masks that belong to other pictures of the set."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import ItemFacts, MaskPairing, Measurements
from saldiag.rules.shared.wording import counted, number, percent


class MasksOfOtherPictures(Rule):
    """Masks lie on the edges of other pictures than those that they are paired with.

    ## What it does
    Takes how strong the edges of each picture are along the outline of each mask, and pairs those
    that are each other's best. It speaks up only where hardly any mask is paired with its own
    picture and most are with another's, far more than after turning all masks by half. Masks that
    have little to do with edges are paired at random, before and after, and left alone.

    ## Why is this bad
    The pairs say nothing about one another: the network learns them by heart or not at all, and
    predicts the mean mask of everything else.

    ## Example
    ```python
    images = sorted(folder.glob("*.jpg"))
    masks = list(folder.glob("*.png"))  # in any order
    ```

    ## Use instead
    ```python
    images = sorted(folder.glob("*.jpg"))
    masks = [path.with_suffix(".png") for path in images]
    ```

    ## Threshold
    - `masks` = 24: fewest masks to compare.
    - `own` = 0.15: largest share of masks that are paired with their own picture. On 240
      photographs of ECSSD (Shi, Yan, Xu & Jia, Hierarchical Image Saliency Detection, 2016) it is
      0.77 to 1, on noise 1/masks.
    - `other` = 0.6: least share of masks that are paired with another picture; 0.77 or more on the
      same photographs in another order. Both are our own measurements.
    - `errors` = 3: standard errors that `other` must be above that of the turned masks.
    """

    code = "SD607"
    name = "masks-of-other-pictures"
    severity = "error"
    requires = (ItemFacts,)
    thresholds = {"masks": 24, "own": 0.15, "other": 0.6, "errors": 3}
    explains = {"SD302": "anywhere", "SD801": "anywhere"}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        pairing = measured.need(ItemFacts).pairing
        if pairing is None:
            return
        if pairing.masks < limits["masks"]:
            raise CannotJudge(
                f"{counted(pairing.masks, 'mask')} to compare, needs {number(limits['masks'])}"
            )
        excess = _errors(pairing)
        if (
            pairing.own > limits["own"]
            or pairing.other < limits["other"]
            or excess < limits["errors"]
        ):
            return
        yield self.finding(
            f"{percent(pairing.other)} of {counted(pairing.masks, 'mask')} lie best on the edges "
            f"of another picture of the set (threshold {percent(limits['other'])}), "
            f"{percent(pairing.own)} on those of their own; turned by half, "
            f"{percent(pairing.turned)} find any. Pair pictures and masks by their names",
            "masks = [path.with_suffix('.png') for path in images]",
            evidence={
                "other": pairing.other, "own": pairing.own, "turned": pairing.turned,
                "masks": pairing.masks, "errors": excess, "threshold": limits["other"],
            },
        )  # fmt: skip


def _errors(pairing: MaskPairing) -> float:
    """How many standard errors more masks find another picture than turned ones find any."""
    shares = (pairing.other, pairing.turned)
    variance = sum(share * (1 - share) for share in shares) / pairing.masks
    difference = pairing.other - pairing.turned
    return difference / math.sqrt(variance) if variance > 0 else math.inf * difference
