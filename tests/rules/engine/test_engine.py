"""The engine: outcomes, root cause, what is chosen, and what a broken rule costs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.errors import SaldiagError
from saldiag.core.findings.finding import SEVERITIES, Finding
from saldiag.core.findings.rule import CannotJudge, Rule, Thresholds
from saldiag.core.measurement import LossCheck, Measurements, Wiring
from saldiag.rules.engine import engine, registry
from saldiag.rules.engine.explain import explain
from saldiag.rules.engine.root_cause import explained, explains_how_many
from tests.faults import sd101_single_channel_softmax as softmax
from tests.support.findings import finding
from tests.support.measurements import call, healthy, wiring


class Stub(Rule):
    """A rule of the tests."""

    code = "SD999"
    name = "stub"
    severity = "warning"
    requires = ()

    def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
        raise NotImplementedError


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):
    def install(*rules: type[Rule]) -> None:
        monkeypatch.setattr(registry, "all_rules", lambda: rules)

    return install


def test_the_case_in_one_chain() -> None:
    diagnosis = engine.diagnose(softmax.broken(), verdict="does_not_learn", timings={"total": 1.5})
    assert diagnosis.root_cause is not None
    assert diagnosis.root_cause.rule == "SD101"
    assert diagnosis.root_cause.layers == ("Convf2", "softmax_output")
    assert diagnosis.root_cause.source is not None
    assert diagnosis.root_cause.source.line == 88
    root = diagnosis.root_finding()
    assert root is diagnosis.findings[0]
    assert root.message == (
        "Convf2 and softmax_output: softmax over an axis of size 1 is the constant 1.0; "
        "|dL/dx| is 0.41 after it and 0 before it. Use sigmoid instead: quicksal/model.py:88"
    )
    symptoms = {f.rule: f.explained_by for f in diagnosis.findings[1:]}
    assert symptoms == dict.fromkeys(("SD102", "SD201", "SD302", "SD801", "SD901"), "SD101")
    assert diagnosis.timings == {"total": 1.5}
    assert (diagnosis.subject.model, diagnosis.subject.parameters) == ("subject", 641)
    assert diagnosis.failed()


def test_the_order_of_measurements_does_not_change_the_diagnosis() -> None:
    one = engine.diagnose(softmax.broken(), verdict="does_not_learn")
    shuffled = list(softmax.broken().found.items())
    random.Random(3).shuffle(shuffled)
    assert engine.diagnose(Measurements(dict(shuffled)), verdict="does_not_learn") == one


def test_a_rule_without_its_measurement_is_skipped_with_the_reason() -> None:
    measured = healthy().without(LossCheck, "the model is not compiled")
    diagnosis = engine.diagnose(measured, verdict="not_tested")
    assert {s.rule: s.reason for s in diagnosis.skipped}["SD103"] == "the model is not compiled"


def test_without_measurements_every_rule_is_skipped() -> None:
    diagnosis = engine.diagnose(Measurements(), verdict="not_tested")
    assert diagnosis.findings == ()
    assert diagnosis.root_cause is None
    assert [s.rule for s in diagnosis.skipped] == [r.code for r in registry.all_rules()]
    assert all(s.reason for s in diagnosis.skipped)
    assert not diagnosis.failed()


def test_a_rule_that_breaks_is_skipped_and_keeps_none_of_its_findings(only) -> None:
    class Breaks(Stub):
        """Breaks."""

        def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
            yield self.finding("half", "fix")
            raise ValueError("first line\nsecond")

    only(Breaks)
    diagnosis = engine.diagnose(Measurements(), verdict="not_tested")
    assert diagnosis.findings == ()
    assert diagnosis.skipped[0].reason == "error in rule: ValueError: first line second"


def test_a_rule_that_cannot_judge_is_skipped(only) -> None:
    class Shy(Stub):
        """Shy."""

        def judge(self, measured: Measurements, limits: Thresholds) -> Iterable[Finding]:
            raise CannotJudge("too few samples")

    only(Shy)
    (skipped,) = engine.diagnose(Measurements(), verdict="not_tested").skipped
    assert (skipped.rule, skipped.reason) == ("SD999", "too few samples")


@pytest.mark.parametrize("chosen", [["SD2"], ["sd201"], ["gradient-cut"]])
def test_select_and_ignore_take_codes_names_and_families(chosen: list[str]) -> None:
    selected = engine.diagnose(softmax.broken(), verdict="does_not_learn", select=chosen)
    assert {f.rule for f in selected.findings} == {"SD201"}
    rest = engine.diagnose(softmax.broken(), verdict="does_not_learn", ignore=chosen)
    assert "SD201" not in {f.rule for f in rest.findings} | {s.rule for s in rest.skipped}
    assert "SD101" in {f.rule for f in rest.findings}


def test_an_empty_selection_runs_nothing() -> None:
    diagnosis = engine.diagnose(softmax.broken(), verdict="does_not_learn", select=[])
    assert (diagnosis.findings, diagnosis.skipped) == ((), ())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"select": ["SD102x"]}, "no rule 'SD102x': did you mean SD102"),
        ({"ignore": ["gradient-cuts"]}, "did you mean gradient-cut?"),
        ({"limits": {"SD999": {}}}, "no rule 'SD999'"),
        ({"limits": {"SD601": {"scales": 1}}}, "SD601 has no threshold 'scales'.*mean scale?"),
        ({"limits": {"SD101": {"x": 1}}}, "SD101 has no threshold 'x': it has none"),
    ],
)
def test_wrong_names_get_a_suggestion(options: dict, message: str) -> None:
    with pytest.raises(SaldiagError, match=message):
        engine.diagnose(healthy(), verdict="not_tested", **options)


def test_limits_replace_a_rules_own() -> None:
    limits = {"SD103": {"relative": 1e-6, "absolute": 1e-6}}
    diagnosis = engine.diagnose(healthy(), verdict="learns", limits=limits)
    (only_one,) = diagnosis.findings
    assert (only_one.rule, only_one.evidence["threshold"]) == ("SD103", 1e-6)


def test_explain_suggests() -> None:
    with pytest.raises(SaldiagError, match="did you mean SD101"):
        explain("SD101x")
    with pytest.raises(SaldiagError, match="did you mean dead-relu"):
        explain("dead relu")


def test_two_rules_in_one_file_are_an_error() -> None:
    import types

    module = types.ModuleType("saldiag.rules.wiring.sd198_two")
    for name in ("A", "B"):
        setattr(module, name, type(name, (Stub,), {"__module__": module.__name__}))
    with pytest.raises(RuntimeError, match="contains 2 rules, not one"):
        registry._rule_in(module)


# How findings explain each other


def chain(*names: str) -> Wiring:
    return wiring(*(call(name, "Dense", names[i - 1] if i else "") for i, name in enumerate(names)))


def test_upstream_and_downstream_follow_the_wiring() -> None:
    branches = wiring(
        call("stem", "Dense", ""),
        call("left", "Dense", "stem"),
        call("right", "Dense", "stem"),
        call("join", "Add", "left", "right"),
    )
    cause, before, beside = finding("A", "left"), finding("B", "stem"), finding("B", "right")
    explains = {"A": {"B": "upstream"}}
    _, first, second = explained([cause, before, beside], explains, branches)
    assert (first.explained_by, second.explained_by) == ("A", None)
    after = finding("B", "join")
    _, first, second = explained([cause, before, after], {"A": {"B": "downstream"}}, branches)
    assert (first.explained_by, second.explained_by) == (None, "A")
    on_path = explained([cause, before, after, beside], {"A": {"B": "same_path"}}, branches)
    assert [effect.explained_by for effect in on_path[1:]] == ["A", "A", None]


def test_a_container_counts_as_its_layers() -> None:
    inner = wiring(call("encoder/conv", "Conv2D", ""), call("head", "Dense", "encoder/conv"))
    pair = [finding("A", "head"), finding("B", "encoder")]
    assert explained(pair, {"A": {"B": "upstream"}}, inner)[1].explained_by == "A"
    same = [finding("A", "encoder"), finding("B", "encoder/conv")]
    assert explained(same, {"A": {"B": "same_layer"}}, inner)[1].explained_by == "A"
    near = [finding("A", "enc"), finding("B", "encoder/conv")]
    assert explained(near, {"A": {"B": "same_layer"}}, inner)[1].explained_by is None


def test_a_finding_without_a_known_layer_is_explained_by_any_cause() -> None:
    for effect in (finding("B"), finding("B", "unknown")):
        pair = explained([finding("A", "b"), effect], {"A": {"B": "upstream"}}, chain("a", "b"))
        assert pair[1].explained_by == "A"


def test_the_nearest_to_the_root_explains() -> None:
    explains = {"A": {"B": "anywhere", "C": "anywhere"}, "B": {"C": "anywhere"}}
    found = explained([finding("C"), finding("B"), finding("A")], explains, None)
    assert [f.explained_by for f in found] == ["A", "A", None]
    assert explains_how_many(found[2], found) == 2


def test_of_two_causes_the_one_that_nothing_explains_is_named() -> None:
    explains = {"A": {"C": "anywhere"}, "B": {"A": "anywhere", "C": "anywhere"}}
    found = explained([finding("A"), finding("B"), finding("C")], explains, None)
    assert [f.explained_by for f in found] == ["B", None, "B"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (finding("B"), finding("A", severity="warning")),
        (finding("B"), finding("A", confidence=0.9)),
        (finding("A", "a"), finding("A", "b")),
    ],
    ids=["graver", "surer", "earlier"],
)
def test_a_root_cause_is_more_severe_surer_or_earlier(one: Finding, other: Finding) -> None:
    assert engine._ranked_findings([other, one])[0] is one


def test_of_equals_the_one_that_explains_more_is_the_root() -> None:
    effect = replace(finding("C"), explained_by="B")
    assert engine._ranked_findings([finding("A"), finding("B"), effect])[0].rule == "B"


CODES = "ABCDEF"
EXPLAINS = {
    code: dict.fromkeys(CODES[i + 1 :], ("anywhere", "upstream", "same_layer")[i % 3])
    for i, code in enumerate(CODES)
}
findings = st.builds(
    lambda code, layer, severity, sure: finding(code, *layer, severity=severity, confidence=sure),
    st.sampled_from(CODES),
    st.sampled_from([(), ("a",), ("b",), ("a", "c")]),
    st.sampled_from(SEVERITIES),
    st.sampled_from([0.5, 1.0]),
)


@given(st.lists(findings, min_size=1, max_size=8), st.randoms())
def test_there_is_a_root_and_it_comes_first(found: Sequence[Finding], luck: random.Random) -> None:
    wired = chain("a", "b", "c")
    ranked = engine._ranked_findings(explained(found, EXPLAINS, wired))
    assert ranked[0].explained_by is None
    gravest = min(SEVERITIES.index(f.severity) for f in ranked if f.explained_by is None)
    assert SEVERITIES.index(ranked[0].severity) == gravest
    codes = {f.rule for f in ranked}
    for effect in ranked:
        if effect.explained_by is not None:
            assert effect.explained_by in codes
            assert effect.rule in EXPLAINS[effect.explained_by]
    shuffled = list(found)
    luck.shuffle(shuffled)
    again = engine._ranked_findings(explained(shuffled, EXPLAINS, wired))
    assert [(f.rule, f.layers, f.severity, f.explained_by) for f in again[:1]] == [
        (f.rule, f.layers, f.severity, f.explained_by) for f in ranked[:1]
    ]
