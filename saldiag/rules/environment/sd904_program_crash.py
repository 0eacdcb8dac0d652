"""SD904: the program ended with an error whose cause is certain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import Measurements, ProgramError, Wiring
from saldiag.rules.shared import edits
from saldiag.rules.shared.error_messages import OF_LABELS, meaning_of
from saldiag.rules.shared.wording import label, place

LONGEST = 420
ENDED = {
    "program": "the program ended with",
    "call": "the model cannot be called on these data:",
    "training": "the model cannot be trained on these data:",
}


class ProgramCrash(Rule):
    """The program ended with an error of Keras or TensorFlow, and it is certain what it means.

    ## What it does
    Says of an error that ended the user's program what was wrong, with the values that the error's
    message holds (shapes, labels, names, numbers of layers), at the program's own line; of a layer
    that the message names, where it was made. An error that comes from a name of an older version
    of Keras, numpy or TensorFlow is told with the name of today. An error that is no known one is
    not judged: the traceback says of it what there is to say. Likewise of a model without a
    program that cannot be called or trained at all; what is about its targets is SD108's there.

    ## Why is this bad
    A program that ends trains no more, and the last line of a traceback through a framework is far
    from the line to change.

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
    None: a program ends with an error or does not. The messages are those of Keras 3.13 to 3.15 and
    TensorFlow 2.21 (2026).
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
            yield self._outdated(ended)
            return
        found = meaning_of(ended.error, ended.message)
        if found is None:
            raise CannotJudge(f"{label(ended.error)} is no error whose meaning is certain")
        meaning, values = found
        if ended.during != "program" and meaning.key in OF_LABELS:
            return  # SD108 says it
        layer = _layer(ended, values)
        made = place(ended.layers[layer]) if layer else ""
        where = f" (layer {label(layer)} is made at {made})" if made else ""
        yield self.finding(
            _cut(f"{_ended(ended)}: {meaning.says.format_map(values)}") + where,
            meaning.fix.format_map(values),
            layers=(layer,) if layer else (),
            evidence={**values, "error": ended.error, "kind": meaning.key},
            source=ended.source,
            edits=_edits(measured, meaning.key, values),
        )

    def _outdated(self, ended: ProgramError) -> Finding:
        what, _, todo = ended.outdated.partition(": ")
        bridge = "; saldiag run --compat bridges it" if ended.bridged else ""
        return self.finding(
            _cut(f"{_ended(ended)}: {what}{bridge}"),
            todo or what,
            evidence={"error": ended.error, "kind": "renamed", "bridged": ended.bridged},
            source=ended.source,
        )


def _ended(ended: ProgramError) -> str:
    return f"{ENDED[ended.during]} {label(ended.error)}"


def _edits(measured: Measurements, key: str, values: Mapping[str, str]) -> edits.Edits:
    """The cross-entropy for the kind of labels that there is, where shapes leave no other doubt."""
    wiring = measured.get(Wiring)
    loss = wiring.loss if wiring is not None else ""
    if key == "class numbers" and loss == "categorical_crossentropy":
        return edits.loss(measured, "sparse_categorical_crossentropy")
    alike = values.get("target") == values.get("output")
    if key == "one-hot" and alike and loss == "sparse_categorical_crossentropy":
        return edits.loss(measured, "categorical_crossentropy")
    return ()


def _layer(ended: ProgramError, values: Mapping[str, str]) -> str:
    """The layer that the message speaks of, where the program made one of that name."""
    named = values.get("layer", "")
    return named if named in ended.layers else ""


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
