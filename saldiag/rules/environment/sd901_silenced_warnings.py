"""SD901: framework warnings hidden by the program's filters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from saldiag.core.findings.finding import Finding
from saldiag.core.findings.rule import Rule, Thresholds
from saldiag.core.measurement import Measurements, RecordedWarning, Source, WarningLog
from saldiag.core.wording import at_line, counted, masked

HIDDEN_BY_DEFAULT = frozenset(
    {
        "DeprecationWarning",
        "ImportWarning",
        "PendingDeprecationWarning",
        "ResourceWarning",
    }
)
"""Categories that Python's default filters hide (PEP 565)."""
MAX_QUOTE_CHARACTERS = 160


class SilencedWarnings(Rule):
    """The program's filters hide warnings of Keras or TensorFlow.

    ## What it does
    Quotes every framework warning that the program's own filters hid, with the line that installed
    the filter, if it is known. Warnings that Python hides by default (deprecations) and warnings
    that were shown are not reported. A filter that would hide all of Keras' warnings but has hidden
    none so far is a note.

    ## Why is this bad
    Keras warns about a softmax over one channel, missing gradients and inputs that do not match. A
    filter for the whole category hides the important warning with the harmless ones.

    ## Example
    ```python
    warnings.filterwarnings("ignore", category=UserWarning, module="keras")
    ```

    ## Use instead
    ```python
    warnings.filterwarnings("ignore", message="the known, harmless message")
    ```

    ## Threshold
    None: a single hidden warning counts (PEP 565, 2017: warnings of libraries address the author of
    the program).
    """

    code = "SD901"
    name = "silenced-warnings"
    severity = "warning"
    requires = (WarningLog,)

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        by_filter: dict[Source | None, list[RecordedWarning]] = defaultdict(list)
        log = measured.need(WarningLog)
        for warning in log.warnings:
            if warning.silenced and warning.category not in HIDDEN_BY_DEFAULT:
                by_filter[warning.silenced_by].append(warning)
        for source, hidden in by_filter.items():
            yield self._hidden_warnings_finding(source, hidden)
        for source in log.filters:
            if source not in by_filter:
                yield self._unused_filter_finding(source)

    def _unused_filter_finding(self, source: Source) -> Finding:
        return self.finding(
            "the program silences all UserWarnings of Keras; none was hidden so far. "
            f"Filter single messages instead{at_line(source)}",
            'warnings.filterwarnings("ignore", message="the known, harmless message")',
            evidence={"warnings": []},
            source=source,
            severity="info",
        )

    def _hidden_warnings_finding(
        self, source: Source | None, hidden: Sequence[RecordedWarning]
    ) -> Finding:
        messages = list(dict.fromkeys(warning.message for warning in hidden))
        more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
        count = sum(warning.count for warning in hidden)
        return self.finding(
            f"the program's filters hid {counted(count, 'framework warning')}: "
            f'{hidden[0].category} "{_shortened_to_one_line(messages[0])}"{more}. '
            f"Remove the filter{at_line(source)}",
            'warnings.filterwarnings("default")  # instead of "ignore"',
            evidence={
                "warnings": [
                    {
                        "category": w.category,
                        "message": w.message,
                        "file": w.file,
                        "line": w.line,
                        "count": w.count,
                    }
                    for w in hidden
                ],
            },
            source=source,
        )


def _shortened_to_one_line(message: str) -> str:
    """The message on one line, with at most ``MAX_QUOTE_CHARACTERS`` characters."""
    text = " ".join(masked(message, " ").split())
    return text if len(text) <= MAX_QUOTE_CHARACTERS else f"{text[: MAX_QUOTE_CHARACTERS - 1]}…"
