"""SD611: masks of 0 and 1 with grey edges."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import ItemFacts, LayerCall, MaskGreys, Measurements, Wiring
from saldiag.core.wording import counted, percent
from saldiag.rules.shared.graph import Network


class GreyMaskEdges(Rule):
    """Masks of 0 and 1 have grey edges, as left by interpolation or JPEG.

    ## What it does
    Judges models with a sigmoid output or a binary cross-entropy whose targets have one channel and
    are 0 or 1 nearly everywhere. Measures the share of values in between, and how many of these
    have both a 0 and a 1 nearby. The finding is a note, because soft edges can be intended
    (matting). Targets with as many channels as the input, such as those of an autoencoder, are not
    judged.

    ## Why is this bad
    The cross-entropy cannot reach 0, metrics that compare with 1 miss the edges, and the loss
    rewards blurred edges.

    ## Example
    ```python
    mask = tf.image.resize(mask, (224, 224))
    ```

    ## Use instead
    ```python
    mask = tf.image.resize(mask, (224, 224), method="nearest")
    ```

    ## Threshold
    - `share` = 0.005: minimum share of grey values. Resizing 240 masks of ECSSD (Shi, Yan, Xu &
      Jia, Hierarchical Image Saliency Detection, 2016) makes 0.023 at 224 pixels, 0.09 at 64.
    - `between` = 0.7: minimum share of grey values with a 0 and a 1 nearby; 0.80 to 0.98 on these
      masks.
    - `faint` = 0.8: share of grey values within 0.06 of 0 or 1. At or above it, the finding names
      JPEG as the cause; 0.24 to 0.36 on these masks. All three are our own measurements.
    """

    code = "SD611"
    name = "grey-mask-edges"
    severity = "info"
    requires = (Wiring, ItemFacts)
    thresholds = {"share": 0.005, "between": 0.7, "faint": 0.8}

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        greys = measured.need(ItemFacts).greys
        if greys is None or not greys.share > limits["share"]:
            return
        if not _predicts_binary_values(measured.need(Wiring)):
            return
        faint = greys.faint >= limits["faint"]
        if faint or greys.between >= limits["between"]:
            yield self._grey_values_finding(greys, limits["share"], faint=faint)

    def _grey_values_finding(self, greys: MaskGreys, limit: float, *, faint: bool) -> Finding:
        where, advice, fix = (
            (
                f"{percent(greys.faint)} of these are within 0.06 of 0 or 1, as after JPEG",
                "Round the masks, and save them as PNG",
                'mask = np.round(mask)  # and save it as "mask.png"',
            )
            if faint
            else (
                f"{percent(greys.between)} of these are between a 0 and a 1, as after resizing",
                "Resize masks by nearest neighbour, or round them",
                'mask = tf.image.resize(mask, size, method="nearest")',
            )
        )
        return self.finding(
            f"{percent(greys.share)} of the values in {counted(greys.masks, 'mask')} are neither 0 "
            f"nor 1 (threshold {percent(limit)}); {where}. {advice}",
            fix,
            evidence={
                "share": greys.share,
                "between": greys.between,
                "faint": greys.faint,
                "masks": greys.masks,
                "threshold": limit,
            },
        )


def _predicts_binary_values(wiring: Wiring) -> bool:
    """Whether the loss is a binary cross-entropy or an output activation is sigmoid."""
    heads: list[LayerCall] = Network(wiring).heads()
    return wiring.loss == "binary_crossentropy" or any(h.activation == "sigmoid" for h in heads)
