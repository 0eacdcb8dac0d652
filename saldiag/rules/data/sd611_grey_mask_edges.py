"""SD611: masks of 0 and 1 that are grey along their edges."""

from __future__ import annotations

from collections.abc import Iterable

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import ItemFacts, LayerCall, MaskGreys, Measurements, Wiring
from saldiag.rules.shared.graph import Network
from saldiag.rules.shared.wording import counted, percent


class GreyMaskEdges(Rule):
    """Masks are grey where their 0 and 1 meet, as interpolation or JPEG leaves them.

    ## What it does
    Where the output is a sigmoid's, or the loss a binary cross-entropy, and targets are one channel
    of 0 and 1 nearly everywhere, takes the values in between: how many, and how many of them have
    both a 0 and a 1 near by. It is a note, for soft edges can be meant (matting). Targets of as
    many channels as the input, such as an autoencoder's, are left alone.

    ## Why is this bad
    The cross-entropy no longer comes down to 0, metrics that compare with 1 miss the edges, and
    the loss asks for blurred ones.

    ## Example
    ```python
    mask = tf.image.resize(mask, (224, 224))
    ```

    ## Use instead
    ```python
    mask = tf.image.resize(mask, (224, 224), method="nearest")
    ```

    ## Threshold
    - `share` = 0.005: least share of grey values. Resizing 240 masks of ECSSD (Shi, Yan, Xu & Jia,
      Hierarchical Image Saliency Detection, 2016) makes 0.023 at 224 pixels, 0.09 at 64.
    - `between` = 0.7: least share of grey values with a 0 and a 1 near by; 0.80 to 0.98 on these.
    - `faint` = 0.8: share of grey values within 0.06 of 0 or 1, from which on JPEG is named as the
      cause; 0.24 to 0.36 on these. All three are our own measurements.
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
        if not _says_yes_or_no(measured.need(Wiring)):
            return
        faint = greys.faint >= limits["faint"]
        if faint or greys.between >= limits["between"]:
            yield self._grey(greys, limits["share"], faint=faint)

    def _grey(self, greys: MaskGreys, limit: float, *, faint: bool) -> Finding:
        where, cause, fix = (
            (
                f"{percent(greys.faint)} of them within 0.06 of 0 or 1, as JPEG leaves them",
                "Round the masks, and keep them as PNG",
                'mask = np.round(mask)  # and save them as "mask.png"',
            )
            if faint
            else (
                f"{percent(greys.between)} of them between a 0 and a 1, as resizing leaves them",
                "Resize masks by the nearest neighbour, or round them",
                'mask = tf.image.resize(mask, size, method="nearest")',
            )
        )
        return self.finding(
            f"{percent(greys.share)} of the values in {counted(greys.masks, 'mask')} are neither 0 "
            f"nor 1 (threshold {percent(limit)}), {where}. {cause}",
            fix,
            evidence={
                "share": greys.share, "between": greys.between, "faint": greys.faint,
                "masks": greys.masks, "threshold": limit,
            },
        )  # fmt: skip


def _says_yes_or_no(wiring: Wiring) -> bool:
    heads: list[LayerCall] = Network(wiring).heads()
    return wiring.loss == "binary_crossentropy" or any(h.activation == "sigmoid" for h in heads)
