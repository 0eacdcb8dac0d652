"""SD904: the program ended with a recognised error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Measurements, ProgramError, Wiring
from saldiag.core.wording import label, short_file_and_line
from saldiag.rules.shared import edits
from saldiag.rules.shared.error_messages import OF_LABELS, meaning_of

MAX_MESSAGE_CHARACTERS = 420
"""Characters of the explanation, without the place of the layer."""
MESSAGE_STARTS = {
    "program": "the program ended with",
    "call": "the model cannot be called with this data:",
    "training": "the model cannot be trained on this data:",
}
"""Start of the message by what was running, ``ProgramError.during``."""


class ProgramCrash(Rule):
    """The program ended with a Keras or TensorFlow error whose cause is certain.

    ## What it does
    Explains the error that ended the user's program, with the values from its message (shapes,
    labels, names, numbers of layers) and the program's own line. If the message names a layer, also
    gives the line that creates it. If the error comes from a name of an older version of Keras,
    NumPy or TensorFlow, gives the current name. Unrecognised errors are not judged: their traceback
    is all the information there is. A model without a program that cannot be called or trained is
    judged in the same way, except for errors about its targets, which SD108 reports.

    ## Why is this bad
    A program that crashes does not train, and the last line of a framework's traceback is far from
    the line to change.

    ## Example
    ```python
    model.compile("adam", loss="categorical_crossentropy")
    model.fit(x, np.array([0, 2, 1]))
    ```

    ## Use instead
    ```python
    model.compile("adam", loss="sparse_categorical_crossentropy")
    model.fit(x, np.array([0, 2, 1]))
    ```

    ## Threshold
    None: a program ends with an error or it does not. The patterns match messages of Keras 3.13 to
    3.15 and TensorFlow 2.21 (2026).
    """

    code = "SD904"
    name = "program-crash"
    severity = "error"
    requires = (ProgramError,)
    comes_first = True

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        ended = measured.need(ProgramError)
        if not ended.error:
            return
        if ended.outdated:
            yield self._outdated_name_finding(ended)
            return
        found = meaning_of(ended.error, ended.message)
        if found is None:
            raise CannotJudge(f"{label(ended.error)} is not a recognised error")
        meaning, values = found
        if ended.during != "program" and meaning.key in OF_LABELS:
            return  # SD108 reports it
        layer = _named_layer(ended, values)
        created = short_file_and_line(ended.layers[layer]) if layer else ""
        where = f" (layer {label(layer)} is created at {created})" if created else ""
        yield self.finding(
            _shortened(f"{_message_start(ended)}: {meaning.says.format_map(values)}") + where,
            meaning.fix.format_map(values),
            layers=(layer,) if layer else (),
            evidence={**values, "error": ended.error, "kind": meaning.key},
            source=ended.source,
            edits=_loss_edits(measured, meaning.key, values),
        )

    def _outdated_name_finding(self, ended: ProgramError) -> Finding:
        cause, _, replacement = ended.outdated.partition(": ")
        bridge = "; saldiag run --compat bridges it" if ended.bridged else ""
        return self.finding(
            _shortened(f"{_message_start(ended)}: {cause}{bridge}"),
            replacement or cause,
            evidence={"error": ended.error, "kind": "renamed", "bridged": ended.bridged},
            source=ended.source,
        )


def _message_start(ended: ProgramError) -> str:
    """Start of the message, with the error's type."""
    return f"{MESSAGE_STARTS[ended.during]} {label(ended.error)}"


def _loss_edits(measured: Measurements, key: str, values: Mapping[str, str]) -> edits.Edits:
    """Edits to the cross-entropy that suits the labels, if the shapes leave no doubt."""
    wiring = measured.get(Wiring)
    loss = wiring.loss if wiring is not None else ""
    if key == "class numbers" and loss == "categorical_crossentropy":
        return edits.loss(measured, "sparse_categorical_crossentropy")
    same_shape = values.get("target") == values.get("output")
    if key == "one-hot" and same_shape and loss == "sparse_categorical_crossentropy":
        return edits.loss(measured, "categorical_crossentropy")
    return ()


def _named_layer(ended: ProgramError, values: Mapping[str, str]) -> str:
    """The layer that the message names, if the program created one of that name; else empty."""
    name = values.get("layer", "")
    return name if name in ended.layers else ""


def _shortened(text: str) -> str:
    """The text, with at most ``MAX_MESSAGE_CHARACTERS`` characters."""
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else f"{text[: MAX_MESSAGE_CHARACTERS - 1]}…"
