"""SD607: masks that belong to other images of the dataset."""

from __future__ import annotations

import math
from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import ItemFacts, MaskPairing, Measurements
from saldiag.core.wording import counted, number, percent


class MasksOfOtherPictures(Rule):
    """Masks match the edges of other images better than those of their own image.

    ## What it does
    Measures how strong the edges of each image are along the outline of each mask, and pairs images
    and masks that are each other's best match. Reports the data only if hardly any mask matches its
    own image and most match another one, far more often than after a rotation of all masks by 180°.
    Masks that have little to do with edges match at random, before and after the rotation, and are
    not reported.

    ## Why is this bad
    Images and masks are unrelated. The network memorises the pairs or learns nothing, and predicts
    the mean mask for every other image.

    ## Example
    ```python
    images = sorted(folder.glob("*.jpg"))
    masks = list(folder.glob("*.png"))  # in arbitrary order
    ```

    ## Use instead
    ```python
    images = sorted(folder.glob("*.jpg"))
    masks = [path.with_suffix(".png") for path in images]
    ```

    ## Threshold
    - `masks` = 24: minimum number of masks.
    - `own` = 0.15: largest share of masks that match their own image. On 240 photographs of ECSSD
      (Shi, Yan, Xu & Jia, Hierarchical Image Saliency Detection, 2016) it is 0.77 to 1, on noise
      1/masks.
    - `other` = 0.6: minimum share of masks that match another image; 0.77 or more on the same
      photographs in another order. Both are our own measurements.
    - `errors` = 3: standard errors by which `other` must exceed the share after the rotation.
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
                f"needs at least {number(limits['masks'])} masks, got {pairing.masks}"
            )
        excess = _standard_errors_above_chance(pairing)
        if (
            pairing.own > limits["own"]
            or pairing.other < limits["other"]
            or excess < limits["errors"]
        ):
            return
        yield self.finding(
            f"{percent(pairing.other)} of {counted(pairing.masks, 'mask')} match another image "
            f"better than their own (threshold {percent(limits['other'])}), "
            f"{percent(pairing.own)} match their own; by chance (masks rotated by 180°), "
            f"{percent(pairing.turned)} match an image. Pair images and masks by file name",
            "masks = [path.with_suffix('.png') for path in images]",
            evidence={
                "other": pairing.other,
                "own": pairing.own,
                "turned": pairing.turned,
                "masks": pairing.masks,
                "errors": excess,
                "threshold": limits["other"],
            },
        )


def _standard_errors_above_chance(pairing: MaskPairing) -> float:
    """Standard errors by which ``other`` exceeds ``turned``, the share of matches by chance."""
    shares = (pairing.other, pairing.turned)
    variance = sum(share * (1 - share) for share in shares) / pairing.masks
    difference = pairing.other - pairing.turned
    return difference / math.sqrt(variance) if variance > 0 else math.inf * difference
