"""What differs between runs, from plain numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.comparison import Recorded, compare, compare_runs
from saldiag.core.comparison.code import unified
from saldiag.core.comparison.layers import Layers, partners
from saldiag.core.comparison.recorded import names_of
from saldiag.core.comparison.rows import Row
from saldiag.core.errors import RunError
from saldiag.core.findings.finding import SEVERITIES
from saldiag.core.measurement import OverfitHistory, SourceFile, SourceFiles, TrainingHistory
from tests.support.findings import finding
from tests.support.runs import call, case, chain, diagnosis, run, sources, wiring, written


def differing(*runs):
    return {_key(row): row.values for row in compare(runs).rows if row.differs}


def _key(row):
    """``LAYER: fact``, or the layer alone if it came or went."""
    return ": ".join(part for part in (row.at, row.name) if part and part != "layer")


# Settings and outcome


def test_a_run_does_not_differ_from_itself():
    for recorded in case():
        comparison = compare([recorded, recorded])
        assert comparison.same
        assert {change for row in comparison.findings for change in row.changes} <= {"still"}
        assert not any(text for row in comparison.code for text in row.diffs)


def test_settings_tell_what_was_really_used():
    one = run("a", wiring(), loss=None, out="x", learning_rate=None)
    two = run("b", wiring(learning_rate=np.float32(3e-3)), loss=None, out="y", learning_rate=3e-3)
    assert differing(one, two) == {
        "learning_rate": (None, 3e-3),
        "learning rate": (1e-3, 3e-3),
    }


def test_settings_inside_others_have_their_own_rows():
    optimizers = [{"clipnorm": 1.0, "learning_rate": 0.1}, {"clipnorm": 2.0, "learning_rate": 0.2}]
    one, two = (run("a", wiring(optimizer_config=given)) for given in optimizers)
    assert differing(one, two) == {"optimizer.clipnorm": (1.0, 2.0)}


@pytest.mark.parametrize(
    ("values", "differs"),
    [
        ((float("nan"), float("nan")), False),
        ((float("nan"), 1.0), True),
        (((1, 2), [1, 2]), False),
        ((1, 1, 2), True),
        ((None, None), False),
        ((None, ""), True),
    ],
)
def test_a_row_differs_if_any_value_is_not_that_of_the_first(values, differs):
    assert Row("options", "x", values).differs is differs


def test_outcome_tells_verdict_cause_and_where_the_errors_ended():
    rows = {row.name: row.values for row in compare(case()).rows if row.part == "outcome"}
    assert rows["verdict"] == ("does_not_learn", "learns")
    assert rows["root cause"][0].startswith("SD101 single-channel-softmax in ")
    before, after = rows["error at the end, training mode"]
    assert before > 0.5 > after


# Network


def test_a_layer_put_in_between_is_one_row_whatever_keras_calls_the_others():
    before = chain(("dense", "Dense", 8), ("dense_1", "Dense", 4), ("dense_2", "Dense", 1))
    after = chain(
        ("dense_7", "Dense", 8), ("dropout", "Dropout", 8), ("dense_8", "Dense", 4),
        ("dense_9", "Dense", 1),
    )  # fmt: skip
    assert differing(run("a", before), run("b", after)) == {
        "dropout": (None, "Dropout, output ? x 8, 16 trainable parameters")
    }


def test_one_more_layer_of_the_same_class_does_not_rename_the_rest():
    before = chain(("dense", "Dense", 8), ("dense_1", "Dense", 1))
    after = chain(("dense", "Dense", 8), ("dense_1", "Dense", 4), ("dense_2", "Dense", 1))
    found = differing(run("a", before), run("b", after))
    assert list(found) == ["dense_1"]
    gone = differing(run("b", after), run("a", before))
    assert [value is None for value in gone["dense_1"]] == [False, True]


def test_a_name_of_the_users_own_is_the_same_layer_with_all_else_changed():
    found = differing(run("a", chain(("head", "Dense", 4))), run("b", chain(("head", "Conv1D", 8))))
    assert found["head: class"] == ("Dense", "Conv1D")
    assert found["head: output"] == ("? x 4", "? x 8")
    blocks = [
        chain(("up_1", "Dense", 4), ("up_2", "Dense", 4)),
        chain(("up_2", "Dense", 4)),
    ]
    assert list(differing(*(run("a", network) for network in blocks))) == ["up_1"]


def test_a_skip_that_goes_elsewhere_is_a_changed_input():
    def network(skip):
        return wiring(
            call("a", inputs=("",)), call("b", inputs=("a",)), call("c", inputs=("b",)),
            call("sum", "Add", inputs=("c", skip)),
        )  # fmt: skip

    found = differing(run("a", network("a")), run("b", network("b")))
    assert found == {"sum: inputs": ("c, a", "c, b")}


def test_frozen_layers_and_dtypes_are_told():
    from saldiag_reports.gallery import runs

    trace = runs.broken_run().measured.found["dtypes"]
    path = next(row.path for row in trace.rows if row.leaf)
    network = wiring(call(path))
    frozen = wiring(dataclasses.replace(call(path), trainable=False))
    double = dataclasses.replace(
        trace, rows=tuple(dataclasses.replace(row, compute="float64") for row in trace.rows)
    )
    found = differing(run("a", network, trace), run("b", frozen, double))
    assert found[f"{path}: trainable"] == (True, False)
    assert found[f"{path}: computes in"][1] == "float64"


def test_a_model_without_layers_is_a_layer_of_its_own():
    one, two = (run(name, wiring(call("", "Own", units))) for name, units in (("a", 2), ("b", 3)))
    assert differing(one, two)["(model): output"] == ("? x 2", "? x 3")


def test_a_network_that_was_not_looked_at_has_lost_no_layers():
    comparison = compare([run("a", wiring(call("x"))), run("b")])
    assert not [row for row in comparison.rows if row.part == "network"]
    assert any("b: its network is not known" in note for note in comparison.notes)


LAYER = st.tuples(
    st.sampled_from(["dense", "dense_1", "dense_2", "head", "conv2d_3"]),
    st.sampled_from(["Dense", "Conv2D"]),
    st.integers(1, 3),
)
NETWORK = st.lists(LAYER, max_size=6, unique_by=lambda layer: layer[0]).map(lambda n: chain(*n))


@given(NETWORK, NETWORK)
def test_partners_are_the_same_read_backwards(one, two):
    there, back = partners(Layers(one), Layers(two)), partners(Layers(two), Layers(one))
    assert there == {a: b for b, a in back.items()}
    assert partners(Layers(one), Layers(one)) == {path: path for path in Layers(one).calls}


# Findings


def changes(one, two, *layers):
    return {(row.rule, row.layers): row.changes[0] for row in compare([one, two]).findings}


def test_findings_are_new_gone_or_still_there():
    one = run("a", judged=diagnosis(finding("SD101", "x"), finding("SD301")))
    two = run("b", judged=diagnosis(finding("SD301"), finding("SD701")))
    assert changes(one, two) == {
        ("SD101", ("x",)): "gone",
        ("SD301", ()): "still",
        ("SD701", ()): "new",
    }


def test_a_rule_that_could_not_judge_does_not_say_that_it_is_gone():
    one = run("a", judged=diagnosis(finding("SD301")))
    two = run("b", judged=diagnosis(skipped=("SD301",)))
    assert changes(one, two) == changes(two, one) == {("SD301", ()): "unknown"}
    unjudged = dataclasses.replace(two, diagnosis=None)
    assert changes(one, unjudged) == {("SD301", ()): "unknown"}


def test_a_finding_follows_its_layer_to_the_new_number():
    one = run(
        "a",
        chain(("dense", "Dense", 1)),
        judged=diagnosis(finding("SD301", "dense", severity="info")),
    )
    two = run(
        "b",
        chain(("dense_4", "Dense", 1)),
        judged=diagnosis(finding("SD301", "dense_4", severity="info")),
    )
    assert set(changes(one, two).values()) == {"still"}


def test_a_finding_at_some_of_its_layers_is_still_the_same():
    one = run("a", judged=diagnosis(finding("SD301", "x", "y", severity="info")))
    two = run(
        "b",
        judged=diagnosis(
            finding("SD301", "z", severity="info"), finding("SD301", "y", "w", severity="info")
        ),
    )
    assert sorted(changes(one, two).values()) == ["new", "still"]


def test_of_many_runs_each_has_its_column():
    found = finding("SD101", "x")
    runs = [run(n, judged=diagnosis(*f)) for n, f in (("a", []), ("b", [found]), ("c", [found]))]
    (row,) = compare([*runs, runs[0]]).findings
    assert row.changes == ("new", "new", "absent")
    assert [seen is not None for seen in row.seen] == [False, True, True, False]


def test_new_is_what_the_first_has_not_or_not_so_grave():
    light, grave = finding("SD301", "x", severity="info"), finding("SD301", "x")
    other = finding("SD302", severity="warning")
    comparison = compare([
        run("a", judged=diagnosis(light)), run("b", judged=diagnosis(grave, other))
    ])  # fmt: skip
    assert [row.rule for row in comparison.new("error")] == ["SD301"]
    assert [row.rule for row in comparison.new("warning")] == ["SD301", "SD302"]
    assert [row.rule for row in comparison.new("info")] == ["SD302"]


def test_a_cause_that_is_another_ones_effect_now_differs():
    one, two = finding("SD301", "x"), finding("SD302")
    comparison = compare([
        run("a", judged=diagnosis(one, two, root=True)),
        run("b", judged=diagnosis(two, one, root=True)),
    ])  # fmt: skip
    assert [row.differs for row in comparison.findings] == [True, True]


FINDING = st.builds(
    lambda rule, severity, layers: finding(rule, *layers, severity=severity),
    st.sampled_from(["SD101", "SD301"]),
    st.sampled_from(SEVERITIES),
    st.lists(st.sampled_from(["x", "y", "z"]), max_size=2, unique=True),
)
DIAGNOSIS = st.builds(
    lambda findings, skipped: diagnosis(*findings, skipped=tuple(skipped)),
    st.lists(FINDING, max_size=4),
    st.lists(st.sampled_from(["SD101", "SD301"]), max_size=1),
)


@given(DIAGNOSIS, DIAGNOSIS)
def test_what_is_new_one_way_is_gone_the_other_way(one, two):
    there, back = run("a", judged=one), run("b", judged=two)
    counts = [
        [sum(row.changes == (change,) for row in compare(pair).findings) for change in order]
        for pair, order in (
            ((there, back), ("new", "gone", "still", "unknown")),
            ((back, there), ("gone", "new", "still", "unknown")),
        )
    ]
    assert counts[0] == counts[1]


@given(DIAGNOSIS)
def test_nothing_is_new_or_gone_in_the_same_diagnosis(one):
    comparison = compare([run("a", judged=one), run("b", judged=one)])
    assert {row.changes for row in comparison.findings} <= {("still",)}
    assert comparison.same


# Code


def test_a_changed_file_has_its_diff_and_an_unchanged_one_none():
    one, two = case()
    train, data = compare([one, two]).code
    assert (train.differs, data.differs, data.diffs) == (True, False, ("",))
    assert train.diffs == (
        '--- broken/train.py\n+++ fixed/train.py\n@@ -1,2 +1,2 @@\n-head = "softmax"\n'
        '+head = "sigmoid"\n fit()\n',
    )


def test_a_copy_under_another_name_is_compared_with_its_original():
    one = run("a", sources(train="x\n", data="d\n"))
    two = run("b", sources(train_fixed="y\n", data="d\n"))
    train, data = compare([one, two]).code
    assert train.diffs[0].startswith("--- a/train.py\n+++ b/train_fixed.py\n")
    assert data.diffs == ("",)


def test_files_that_came_or_went_are_whole_in_the_diff():
    one, two = run("a", sources(a="x\n")), run("b", sources(a="x\n", b="y\n"))
    assert compare([one, two]).code[1].diffs[0].endswith("@@ -0,0 +1 @@\n+y\n")
    assert compare([two, one]).code[1].diffs[0].endswith("@@ -1 +0,0 @@\n-y\n")


def test_files_that_were_not_recorded_are_not_gone():
    comparison = compare([run("a", sources(a="x\n")), run("b")])
    assert comparison.same
    assert comparison.code[0].diffs == (None,)
    assert any("b: its source files were not recorded" in note for note in comparison.notes)


def test_without_a_text_there_is_the_hash_alone():
    one, two = (run("a", SourceFiles((SourceFile("n.ipynb", digit * 64, 9),))) for digit in "ab")
    (row,) = compare([one, two]).code
    assert row.differs
    assert row.diffs == (None,)


def test_a_diff_shows_line_ends():
    one, two = (
        SourceFile("x.py", name, 1, text) for name, text in (("1", "a\r\nb"), ("2", "a\nb\n"))
    )
    told = unified(one, two, "1", "2")
    assert told is not None
    assert told.split("\n")[3:] == ["-a\r", "-b", "\\ No newline at end of file", "+a", "+b", ""]


@given(st.text(), st.text())
def test_a_diff_is_empty_for_the_same_text_alone(one, two):
    files = [SourceFile("x.py", str(hash(text)), 1, text) for text in (one, two)]
    told = unified(*files, "1", "2")
    assert (told == "") is (one == two)


# Curves and notes


def test_curves_are_those_of_the_test_and_of_the_epochs():
    history = TrainingHistory(
        ("loss", "val_loss"), np.arange(2), np.array([[2.0, 1.0], [3.0, 2.0]])
    )
    one, two = case()
    found = compare([one, run("b", history), run("c")]).curves
    assert {(curve.run, curve.axis) for curve in found} == {(0, "step"), (1, "epoch")}
    assert [c.quantity for c in found if c.run == 1] == ["loss", "val_loss"]
    assert compare([run("c"), run("d")]).curves == ()
    assert two.measured.get(OverfitHistory) is not None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"diagnosis": None, "status": "running"},
            "still running, or was killed: it was not judged",
        ),
        ({"status": "interrupted"}, "it was interrupted, so it may have measured less"),
        (
            {"models": ("model-2-critic",)},
            "trained 2 models, and the first is compared; the other is",
        ),
        ({"path": Path("a")}, "b: it is the same run as a"),
    ],
)
def test_what_is_not_as_usual_is_noted(changed, said):
    one, two = run("a", wiring(), sources()), run("b", wiring(), sources())
    info = dataclasses.replace(two.info, status=changed.pop("status", "finished"))
    (note,) = compare([one, dataclasses.replace(two, info=info, **changed)]).notes
    assert said in note


def test_errors_of_two_kinds_are_not_comparable():
    one, two = case()
    test = two.measured.need(OverfitHistory)
    other = dataclasses.replace(
        two, measured=two.measured.with_(dataclasses.replace(test, metric="mse"))
    )
    assert compare([one, other]).notes == (
        "errors are mae and mse: compare only whether they fall, not their values",
    )


# On the disk


def test_runs_are_read_under_the_shortest_names_that_tell_them_apart(tmp_path):
    one, two = case()
    paths = [written(one, tmp_path / "x" / "run"), written(two, tmp_path / "y" / "run")]
    comparison = compare_runs(paths)
    assert [each.name for each in comparison.runs] == ["x/run", "y/run"]
    assert {row.rule for row in comparison.findings if row.changes == ("gone",)} >= {"SD101"}


def test_a_run_that_was_killed_is_read_as_far_as_it_came(tmp_path):
    one, two = case()
    killed = dataclasses.replace(two, diagnosis=None)
    paths = [written(one, tmp_path / "a"), written(killed, tmp_path / "b")]
    comparison = compare_runs(paths)
    assert comparison.runs[1].diagnosis is None
    assert {row.changes for row in comparison.findings} == {("unknown",)}


def test_models_of_one_program_are_seen(tmp_path):
    one, two = case()
    path = written(one, tmp_path / "a")
    written(two, path / "model-2-critic")
    assert Recorded.read(path, "a").models == ("model-2-critic",)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(RunError, match=r"b: not a run directory \(it has no run.json\)"):
        compare_runs([written(case()[0], tmp_path / "a"), tmp_path / "b"])


@given(st.lists(st.sampled_from(["/a/x", "/b/x", "/b/y", "/c/b/x", "/"]), min_size=1, max_size=5))
def test_names_are_different(paths):
    names = names_of([Path(path) for path in paths])
    assert len(set(names)) == len(names)
    assert all(names)
