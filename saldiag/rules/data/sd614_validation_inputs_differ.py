"""SD614: validation inputs are preprocessed differently from training inputs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Correction, InputComparison, Measurements, ValidationCheck
from saldiag.core.wording import counted, label, number, percent
from saldiag.rules.verdicts.validation import LIMITS, Checked


class ValidationInputsDiffer(Rule):
    """Validation inputs differ from training inputs in range, channel order or size.

    ## What it does
    Runs if `val_loss` does not follow the loss. Compares the mean and standard deviation of
    training and validation inputs, and evaluates the model on changed validation inputs: scaled by
    common factors, shifted and scaled to the statistics of the training inputs, with reversed
    channels, resized. A change that closes most of the gap between validation and training items
    proves the cause and is an error. Statistics that differ strongly without such a change are a
    warning.

    ## Why is this bad
    The model sees inputs that it was never trained on. `val_loss` measures the preprocessing, and
    callbacks that monitor it stop training or keep the wrong epoch.

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
      inputs must close.
    - `ratio` = 4: ratio of the standard deviations, larger over smaller, that must be exceeded in
      every channel if there is no proof.
    - `shift` = 3: distance of the means in standard deviations of the training inputs, likewise.
      Both are our own choice; images of one source differ by less than 0.5 (Recht, Roelofs, Schmidt
      & Shankar, Do ImageNet Classifiers Generalize to ImageNet?, 2019).
    """

    code = "SD614"
    name = "validation-inputs-differ"
    severity = "error"
    requires = (ValidationCheck,)
    thresholds = {"corrected": LIMITS["corrected"], "ratio": 4, "shift": 3}
    explains = {
        "SD302": "anywhere",
        "SD615": "anywhere",
        "SD712": "anywhere",
        "SD802": "anywhere",
        "SD804": "anywhere",
        "SD806": "anywhere",
        "SD807": "anywhere",
    }

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        checked = Checked.of(measured)
        repair = checked.repair("inputs", limits["corrected"])
        inputs = checked.check.inputs
        if checked.renamed() and repair is None:
            return  # SD615 reports it
        if repair is not None:
            changed = next(found for found in inputs if found.name == repair.input)
            yield self._preprocessing_finding(checked, repair, changed, limits["corrected"])
            return
        for found in inputs if checked.items_are_worse or checked.strays else ():
            ratio, shift = _std_ratio(found), _mean_shift(found)
            if ratio > limits["ratio"] or shift > limits["shift"]:
                yield self._statistics_finding(found, ratio, shift, limits)

    def _preprocessing_finding(
        self, checked: Checked, repair: Correction, found: InputComparison, limit: float
    ) -> Finding:
        closed = (checked.held_out - repair.error) / checked.gap
        change = f"{repair.change} for input {label(found.name)}" if found.name else repair.change
        return self.finding(
            f"validation inputs are preprocessed differently: error {number(checked.held_out)} on "
            f"{counted(checked.check.items, 'validation item')}, "
            f"{number(repair.error)} with {change}, {number(checked.train)} on training "
            f"items. The change closes {percent(min(closed, 1.0))} of the gap (threshold "
            f"{percent(limit)}). {_input_statistics_text(found)}",
            f"Preprocess validation data like training data: {change}",
            evidence={
                "error": checked.held_out,
                "corrected_error": repair.error,
                "training_items_error": checked.train,
                "change": repair.change,
                "share": closed,
                "threshold": limit,
            },
        )

    def _statistics_finding(
        self, found: InputComparison, ratio: float, shift: float, limits: Thresholds
    ) -> Finding:
        subject = f"input {label(found.name)} differs" if found.name else "inputs differ"
        return self.finding(
            f"{subject} between training and validation: standard deviations by a factor "
            f"of {number(ratio)} (threshold {number(limits['ratio'])}), means by {number(shift)} "
            f"standard deviations (threshold {number(limits['shift'])}). "
            f"{_input_statistics_text(found)}",
            "Preprocess validation data like training data",
            evidence={"ratio": ratio, "shift": shift, "threshold": limits["ratio"]},
            severity="warning",
            confidence=0.7,
        )


def _std_ratio(found: InputComparison) -> float:
    """Ratio of the standard deviations (larger over smaller) in the most similar channel."""
    one, other = (np.maximum(v, 1e-12) for v in (found.std, found.validation_std))
    return float(np.maximum(one / other, other / one).min())


def _mean_shift(found: InputComparison) -> float:
    """Distance of the means in the most similar channel, in training standard deviations."""
    mean, validation_mean, std = (
        np.array(v) for v in (found.mean, found.validation_mean, found.std)
    )
    return float((np.abs(mean - validation_mean) / np.maximum(std, 1e-12)).min())


def _input_statistics_text(found: InputComparison) -> str:
    """Shapes of the items if these differ, else mean and standard deviation of 4 channels."""
    if found.shape != found.validation_shape:
        return f"Training items have shape {found.shape}, validation items {found.validation_shape}"

    def moments(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
        means = ", ".join(number(value) for value in mean[:4])
        return f"mean {means}, standard deviation {', '.join(number(v) for v in std[:4])}"

    return (
        f"Training inputs: {moments(found.mean, found.std)}; validation inputs: "
        f"{moments(found.validation_mean, found.validation_std)}"
    )
