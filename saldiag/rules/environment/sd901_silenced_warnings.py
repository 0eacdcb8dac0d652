"""SD901: the framework warned, and the program did not let it through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, RecordedWarning, Source, WarningLog
from saldiag.rules.shared.wording import at, counted

HIDDEN_BY_PYTHON = frozenset({
    "DeprecationWarning", "ImportWarning", "PendingDeprecationWarning", "ResourceWarning",
})  # fmt: skip
"""Hidden by Python's own filters: no one's fault (PEP 565)."""
LONGEST_QUOTE = 160


class SilencedWarnings(Rule):
    """Keras or TensorFlow said what is wrong, and the program's filters hid it.

    ## What it does
    Quotes every warning of the framework that the program's own filters hid, and names the line
    that installed the filter, where that is known. What Python hides by itself (deprecations) is
    left alone, and so are warnings that were shown. A filter that would hide all of Keras' advice,
    and has hidden none yet, is noted.

    ## Why is this bad
    Keras warns of a softmax over one channel, of gradients that do not exist and of inputs that do
    not fit. Whoever silences the whole category never reads the one that matters.

    ## Example
    ```python
    warnings.filterwarnings("ignore", category=UserWarning, module="keras")
    ```

    ## Use instead
    ```python
    warnings.filterwarnings("ignore", message="the one that is known and harmless")
    ```

    ## Threshold
    None: a single hidden warning counts (PEP 565, 2017: warnings of libraries are for those who
    write the program).
    """

    code = "SD901"
    name = "silenced-warnings"
    severity = "warning"
    requires = (WarningLog,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        by_filter: dict[Source | None, list[RecordedWarning]] = defaultdict(list)
        log = measured.need(WarningLog)
        for warning in log.warnings:
            if warning.silenced and warning.category not in HIDDEN_BY_PYTHON:
                by_filter[warning.silenced_by].append(warning)
        for source, hidden in by_filter.items():
            yield self._silenced(source, hidden)
        for source in log.filters:
            if source not in by_filter:
                yield self._installed(source)

    def _installed(self, source: Source) -> Finding:
        return self.finding(
            "the program silences all UserWarnings of Keras; none was hidden so far. "
            f"Silence single messages{at(source)}",
            'warnings.filterwarnings("ignore", message="the one that is known and harmless")',
            evidence={"warnings": []},
            source=source,
            severity="info",
        )

    def _silenced(self, source: Source | None, hidden: Sequence[RecordedWarning]) -> Finding:
        messages = list(dict.fromkeys(warning.message for warning in hidden))
        more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
        return self.finding(
            f"{counted(sum(w.count for w in hidden), 'warning')} of the framework hidden by the "
            f'program\'s filters: {hidden[0].category} "{_quote(messages[0])}"{more}. '
            f"Remove the filter{at(source)}",
            'warnings.filterwarnings("default")  # instead of "ignore"',
            evidence={
                "warnings": [
                    {"category": w.category, "message": w.message, "file": w.file, "line": w.line,
                     "count": w.count}
                    for w in hidden
                ],
            },
            source=source,
        )  # fmt: skip


def _quote(message: str) -> str:
    text = " ".join("".join(char if char.isprintable() else " " for char in message).split())
    return text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 1]}…"
