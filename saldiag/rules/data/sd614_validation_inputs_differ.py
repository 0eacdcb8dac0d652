"""SD614: validation inputs are preprocessed differently from training inputs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Correction, InputComparison, Measurements, ValidationCheck
from saldiag.rules.shared.wording import counted, label, number, percent
from saldiag.rules.verdicts.validation import LIMITS, Checked


class ValidationInputsDiffer(Rule):
    """Validation inputs have another range, channel order or size than training inputs.

    ## What it does
    Where `val_loss` does not follow the loss, compares mean and standard deviation of the inputs in
    training and validation batches, and evaluates the model once more on changed validation inputs:
    scaled by the usual factors, brought to training's mean and standard deviation, with the
    channels reversed, resized. A change that closes most of the gap between validation and training
    items is a proof, and an error. Statistics that are far apart without such a change are a
    warning.

    ## Why is this bad
    The model sees inputs that it was never trained on. `val_loss` then measures the preprocessing,
    and callbacks that monitor it stop the training or keep the wrong epoch.

    ## Example
    ```python
    model.fit(x_train / 255, y_train, validation_data=(x_val, y_val))
    ```

    ## Use instead
    ```python
    model.fit(x_train / 255, y_train, validation_data=(x_val / 255, y_val))
    ```

    ## Threshold
    - `corrected` = 0.5: share of the gap between validation and training items that a change of the
      inputs has to close.
    - `ratio` = 4: standard deviation of one over that of the other in every channel, from which on
      they differ without a proof.
    - `shift` = 3: distance of the means in standard deviations of the training inputs, likewise.
      Both are our own choice; pictures of one source differ by less than 0.5 (Recht, Roelofs,
      Schmidt & Shankar, Do ImageNet Classifiers Generalize to ImageNet?, 2019).
    """

    code = "SD614"
    name = "validation-inputs-differ"
    severity = "error"
    requires = (ValidationCheck,)
    thresholds = {"corrected": LIMITS["corrected"], "ratio": 4, "shift": 3}
    explains = {
        "SD302": "anywhere", "SD615": "anywhere", "SD712": "anywhere", "SD802": "anywhere",
        "SD804": "anywhere", "SD806": "anywhere", "SD807": "anywhere",
    }  # fmt: skip

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        checked = Checked.of(measured)
        repair = checked.repair("inputs", limits["corrected"])
        inputs = checked.check.inputs
        if checked.renamed() and repair is None:
            return  # SD615
        if repair is not None:
            changed = next(found for found in inputs if found.name == repair.input)
            yield self._proved(checked, repair, changed, limits["corrected"])
            return
        for found in inputs if checked.items_are_worse or checked.strays else ():
            ratio, shift = _ratio(found), _shift(found)
            if ratio > limits["ratio"] or shift > limits["shift"]:
                yield self._differs(found, ratio, shift, limits)

    def _proved(
        self, checked: Checked, repair: Correction, found: InputComparison, limit: float
    ) -> Finding:
        closed = (checked.held_out - repair.error) / checked.gap
        change = f"{repair.change} for input {label(found.name)}" if found.name else repair.change
        return self.finding(
            f"validation inputs are preprocessed differently: error {number(checked.held_out)} on "
            f"{counted(checked.check.items, 'validation item')} as they are, "
            f"{number(repair.error)} with {change}, {number(checked.train)} on training "
            f"items; that closes {percent(min(closed, 1.0))} of the gap (threshold "
            f"{percent(limit)}). {_described(found)}",
            f"Preprocess validation data as training data: {change}",
            evidence={
                "error": checked.held_out, "corrected_error": repair.error,
                "training_items_error": checked.train, "change": repair.change,
                "share": closed, "threshold": limit,
            },
        )  # fmt: skip

    def _differs(
        self, found: InputComparison, ratio: float, shift: float, limits: Thresholds
    ) -> Finding:
        what = f"input {label(found.name)} differs" if found.name else "inputs differ"
        return self.finding(
            f"{what} between training and validation: standard deviations by a factor "
            f"of {number(ratio)} (threshold {number(limits['ratio'])}), means by {number(shift)} "
            f"standard deviations (threshold {number(limits['shift'])}). {_described(found)}",
            "Preprocess validation data as training data",
            evidence={"ratio": ratio, "shift": shift, "threshold": limits["ratio"]},
            severity="warning",
            confidence=0.7,
        )


def _ratio(found: InputComparison) -> float:
    one, other = (np.maximum(v, 1e-12) for v in (found.std, found.validation_std))
    return float(np.maximum(one / other, other / one).min())


def _shift(found: InputComparison) -> float:
    mean, of_mean, std = (np.array(v) for v in (found.mean, found.validation_mean, found.std))
    return float((np.abs(mean - of_mean) / np.maximum(std, 1e-12)).min())


def _described(found: InputComparison) -> str:
    if found.shape != found.validation_shape:
        return f"Training items have shape {found.shape}, validation items {found.validation_shape}"

    def moments(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
        means = ", ".join(number(value) for value in mean[:4])
        return f"mean {means}, standard deviation {', '.join(number(v) for v in std[:4])}"

    return (
        f"Training inputs: {moments(found.mean, found.std)}; validation inputs: "
        f"{moments(found.validation_mean, found.validation_std)}"
    )
