"""Measurements as tables of raw values, which the page and the terminal format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np

from saldiag.core.findings.hypothesis import Hypothesis
from saldiag.core.measurement import (
    ActivationRow,
    Activations,
    DataFacts,
    DatasetScores,
    DtypeTrace,
    GradientFlow,
    GradientHistory,
    Measurements,
    TrainableRow,
    TrainableStatus,
    WarningLog,
)
from saldiag.core.measurement.experiments import LayerLook
from saldiag.core.wording import (
    NO_VALUE,
    file_and_line,
    grouped_number,
    score_text,
    share_text,
    size_text,
    yes_no,
)
from saldiag_reports.content import hypothesis_text, layer_order

CellKind = Literal["name", "text", "number", "score", "share", "size", "flag"]

_FORMATS: dict[CellKind, Callable[[Any], str]] = {
    "name": lambda value: str(value) or "(model)",
    "text": str,
    "number": grouped_number,
    "score": score_text,
    "share": share_text,
    "size": size_text,
    "flag": yes_no,
}
NUMERIC_KINDS: tuple[CellKind, ...] = ("number", "score", "share", "size")
"""Kinds of cells that are right-aligned and sorted by value."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    """The heading."""
    kind: CellKind = "number"
    """How the cells are formatted."""
    tip: str = ""
    """Explanation of the heading, shown when the mouse is over it; empty for none."""

    @property
    def is_numeric(self) -> bool:
        """Whether cells are right-aligned and sorted by value."""
        return self.kind in NUMERIC_KINDS

    def cell_text(self, value: Any) -> str:
        """The formatted cell."""
        return _FORMATS[self.kind](value)

    def sort_key(self, value: Any) -> str | None:
        """The number that the page sorts by, as text; None if the cell has no number."""
        if not self.is_numeric or value is None or np.isnan(value):
            return None
        return repr(float(value))


@dataclass(frozen=True)
class Table:
    """Rows of raw values."""

    caption: str
    """Title of the table."""
    columns: tuple[Column, ...]
    """The columns."""
    rows: tuple[tuple[Any, ...], ...]
    """One value per column in each row."""
    left_out: int = 0
    """Number of rows that the measurement has but the table does not."""


def _make_table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> Table:
    return Table(caption, tuple(columns), tuple(tuple(row) for row in rows))


def gradient_table(history: GradientHistory) -> Table:
    """One row per variable: its gradient at the first and the last step, and its updates."""
    columns = [
        Column("variable", "name"),
        Column("size", "number"),
        Column("|g| first", tip="L2 norm at the first recorded step"),
        Column("|g| last", tip="L2 norm at the last recorded step"),
        Column("max |g|", tip="largest absolute element over all recorded steps"),
        Column("zero", "share", "share of the elements that are exactly 0 at the last step"),
        Column("not finite", "share", "largest share of NaN or infinite elements in any step"),
        Column("|Δw|/|w|", tip="median update-to-weight ratio"),
    ]
    ends = {"first": 0, "last": -1}
    norm = {key: _values_at_step(history.norm, index, history) for key, index in ends.items()}
    zero = _values_at_step(history.zero_share, -1, history)
    nonfinite = _over_steps(np.max, history.nonfinite_share, history)
    largest = _over_steps(np.max, history.maximum, history)
    update = _over_steps(np.median, history.update_ratio, history)
    rows = (
        (v.path, int(np.prod(v.shape)), norm["first"][i], norm["last"][i], largest[i], zero[i],
         nonfinite[i], update[i])
        for i, v in enumerate(history.variables)
    )  # fmt: skip
    return _make_table("Gradients of the trainable variables", columns, rows)


def _values_at_step(values: Any, index: int, history: GradientHistory) -> list[float]:
    grid = np.asarray(values, dtype=float)
    return [*grid[index]] if len(grid) else [float("nan")] * len(history.variables)


def _over_steps(reduce: Callable[[Any], Any], values: Any, history: GradientHistory) -> list[float]:
    grid = np.asarray(values, dtype=float)
    columns = grid.T if len(grid) else np.full((len(history.variables), 1), np.nan)
    present = [column[~np.isnan(column)] for column in columns]
    return [float(reduce(values)) if values.size else float("nan") for values in present]


def flow_table(measured: GradientFlow) -> Table:
    """One row per call of a leaf layer: the gradients of its output and its input."""
    columns = [
        Column("layer call", "name"),
        Column("kind", "text"),
        Column("|dL/d output|"),
        Column("|dL/d input|"),
        Column("remark", "text"),
    ]
    rows = (
        (row.path, row.kind, row.output_gradient, row.input_gradient, _flow_remark(row))
        for row in measured.rows
        if row.leaf
    )
    return _make_table("Gradient norms at the layer calls", columns, rows)


def _flow_remark(row: Any) -> str:
    if row.skipped:
        return str(row.skipped)
    return "" if row.differentiable_input else "the input is not differentiable"


def activation_table(measured: Activations) -> Table:
    """One row per call of a leaf layer: statistics of its output."""
    columns = [
        Column("layer call", "name"),
        Column("kind", "text"),
        Column("activation", "text"),
        Column("mean"),
        Column("std"),
        Column("min"),
        Column("max"),
        Column("zero", "share", "share of the elements that are exactly 0"),
        Column("dead", "share", "share of the units that are 0 for every sample and position"),
        Column("saturated", "share", "share of the elements at the limits of a bounded activation"),
        Column("not finite", "share"),
        Column(
            "variation",
            tip="variation across samples, relative to all variation; 0: the same for every sample",
        ),
    ]
    rows = (_activation_row(row) for row in measured.rows if row.leaf)
    return _make_table("Outputs of the layer calls", columns, rows)


def _activation_row(row: ActivationRow) -> tuple[Any, ...]:
    return (
        row.path, row.kind, row.activation or "", row.mean, row.std, row.minimum, row.maximum,
        row.zero_share, row.dead_share, row.saturated_share, row.nonfinite_share,
        row.sample_variation,
    )  # fmt: skip


def dtype_table(trace: DtypeTrace) -> Table:
    """One row per call of a leaf layer: dtypes of computation, variables, inputs and outputs."""
    columns = [
        Column("layer call", "name"),
        Column("kind", "text"),
        Column("compute dtype", "text"),
        Column("variables", "text"),
        Column("inputs", "text"),
        Column("outputs", "text"),
        Column("parameters"),
    ]
    rows = (
        (
            r.path,
            r.kind,
            r.compute,
            r.variable,
            _distinct_names(r.inputs),
            _distinct_names(r.outputs),
            r.parameters,
        )
        for r in trace.rows
        if r.leaf
    )
    return _make_table("Dtypes of the layer calls", columns, rows)


def cast_table(trace: DtypeTrace) -> Table:
    """One row per cast to another dtype."""
    columns = [
        Column("at", "name"),
        Column("from", "text"),
        Column("to", "text"),
        Column("elements"),
        Column("written", "size", "bytes for one batch"),
    ]
    rows = ((c.path, c.before, c.after, c.elements, c.size) for c in trace.casts)
    return _make_table("Dtype casts", columns, rows)


def trainable_table(status: TrainableStatus) -> Table:
    """One row per variable: its trainable flags, and what training does with it."""
    columns = [
        Column("variable", "name"),
        Column("size"),
        Column("layer", "flag", "trainable flag of its layer"),
        Column("parents", "flag", "trainable flags of the layers that contain its layer"),
        Column("variable flag", "flag", "trainable flag of the variable itself"),
        Column("model", "flag", "in model.trainable_variables"),
        Column("optimizer", "flag", "known to the optimizer"),
        Column("gradient", "flag", "got a gradient in a training step"),
        Column("changed", "flag", "changed in a training step"),
        Column(
            "distance",
            tip="Kolmogorov-Smirnov distance from the initializer's distribution, times √n",
        ),
    ]
    return _make_table("Variables", columns, (_trainable_row(row) for row in status.rows))


def _trainable_row(row: TrainableRow) -> tuple[Any, ...]:
    return (
        row.path, row.size, row.layer_flag, row.parents_flag, row.variable_flag, row.in_model,
        row.in_optimizer, row.has_gradient, row.changed, row.start_distance,
    )  # fmt: skip


def normalization_table(status: TrainableStatus) -> Table:
    """One row per BatchNorm layer."""
    columns = [
        Column("layer", "name"),
        Column("trainable", "flag"),
        Column("training mode", "flag", "uses the batch's statistics in training"),
        Column("momentum"),
        Column("initial", "flag", "moving statistics still have their initial values"),
    ]
    rows = (
        (r.path, r.trainable, r.training_mode, r.momentum, r.at_start) for r in status.normalization
    )
    return _make_table("BatchNorm layers", columns, rows)


def tensor_table(facts: DataFacts) -> Table:
    """One row per input, target and prediction."""
    columns = [
        Column("tensor", "name"),
        Column("shape", "text"),
        Column("dtype", "text"),
        Column("min"),
        Column("max"),
        Column("mean"),
        Column("std"),
        Column("NaN", "share"),
        Column("variation", tip="variation across samples, relative to all variation"),
        Column("distinct", tip="number of distinct values, counted up to 1,000"),
    ]
    rows = (
        (f"{role} {t.name}" if t.name != role else role, _shape_text(t.shape), t.dtype, t.minimum,
         t.maximum, t.mean, t.std, t.nan_share, t.sample_variation, t.distinct)
        for role, group in (
            ("input", facts.inputs), ("target", facts.targets), ("prediction", facts.predictions),
        )
        for t in group
    )  # fmt: skip
    return _make_table("Inputs, targets and predictions", columns, rows)


def _shape_text(shape: tuple[int | None, ...]) -> str:
    return " x ".join("?" if length is None else str(length) for length in shape)


def warning_table(log: WarningLog) -> Table:
    """One row per warning of Keras or TensorFlow."""
    columns = [
        Column("warning", "text"),
        Column("raised at", "text"),
        Column("times"),
        Column("silenced", "flag", "hidden by a warning filter of the program"),
        Column("filter", "text", "the line that installed the filter"),
    ]
    rows = (
        (f"{w.category}: {w.message}", f"{w.file}:{w.line}" if w.file else "", w.count,
         w.silenced, file_and_line(w.silenced_by))
        for w in log.warnings
    )  # fmt: skip
    return _make_table("Warnings of Keras and TensorFlow", columns, rows)


def layer_probe_table(looks: Sequence[LayerLook]) -> Table:
    """One row per layer, from input to output: R² of a linear probe of its output."""
    columns = [
        Column("layer", "text"),
        Column("kind", "text"),
        Column("information", tip="R² of a linear probe on samples it was not fitted to"),
        Column("features"),
        Column("own gradient", tip="|g| of its weights if the probe replaces the layers after it"),
    ]
    rows = ((r.layer, r.kind, r.information, r.features, r.own_gradient) for r in looks)
    return _make_table("Information on the targets in each layer before training", columns, rows)


def hypothesis_table(hypotheses: Sequence[Hypothesis]) -> Table:
    """One row per hypothesis: what was changed, and the result."""
    columns = [
        Column("outcome", "text"),
        Column("hypothesis", "text"),
        Column("what was changed", "text"),
        Column(
            "error before", tip="mean absolute error without the change, in the unit of the targets"
        ),
        Column("after", tip="mean absolute error with the change; both are means over the seeds"),
        Column("effect", tip="difference in R², mean over the seeds"),
        Column("interval", "text", "95 % bootstrap interval of the effect, over seeds and samples"),
        Column("restored", "text", "seeds for which the change restores learning"),
        Column("steps"),
    ]
    return _make_table("Hypotheses and their outcomes", columns, map(_hypothesis_row, hypotheses))


def _hypothesis_row(h: Hypothesis) -> tuple[Any, ...]:
    suspected = f"; suspected by {', '.join(h.suspected_by)}" if h.suspected_by else ""
    if not h.tried:
        none = float("nan")
        return (
            h.outcome,
            h.hypothesis + suspected,
            h.reason,
            none,
            none,
            none,
            NO_VALUE,
            NO_VALUE,
            none,
        )
    whole = hypothesis_text.interval_text(h).replace(" ", "\N{NO-BREAK SPACE}")
    mode = " (in inference mode)" if h.mode == "inference" else ""
    return (
        h.outcome, h.hypothesis + suspected, h.intervention + mode, *h.error, h.effect,
        whole, f"{h.restored} of {h.seeds}", h.steps,
    )  # fmt: skip


def mask_score_table(datasets: Sequence[DatasetScores]) -> Table:
    """One row per data set: scores of its predicted masks."""
    columns = [
        Column("data set", "name"),
        Column("n", tip="images with a ground truth"),
        Column("MAE", "score", "mean absolute error; lower is better"),
        Column("max F", "score", "highest point of the mean F-beta curve, beta² = 0.3"),
        Column("mean F", "score", "mean of the mean F-beta curve over 256 thresholds"),
        Column("weighted F", "score", "Margolin et al., CVPR 2014, beta² = 0.3"),
        Column("S", "score", "structure measure (Fan et al., ICCV 2017)"),
        Column("mean E", "score", "enhanced alignment, mean over 256 thresholds (IJCAI 2018)"),
        Column("adaptive E", "score", "enhanced alignment, threshold: twice the mean of each mask"),
    ]
    rows = (
        (row.dataset, row.pictures, s.mae, s.max_f_beta, s.mean_f_beta, s.weighted_f_beta,
         s.s_measure, s.mean_e_measure, s.adaptive_e_measure)
        for row in datasets
        for s in (row.scores,)
    )  # fmt: skip
    return _make_table("Scores of the predicted masks", columns, rows)


def _distinct_names(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def dtype_table_by_kind(trace: DtypeTrace) -> Table:
    """One row for all calls of layers of the same class with the same dtypes."""
    calls = dtype_table(trace)
    grouped: dict[tuple[Any, ...], list[int]] = {}
    for row in calls.rows:
        grouped.setdefault(row[1:6], []).append(row[6])
    columns = (calls.columns[1], Column("calls"), *calls.columns[2:])
    rows = ((key[0], len(sizes), *key[1:], sum(sizes)) for key, sizes in grouped.items())
    return _make_table("Dtypes by class of layer", columns, rows)


def trainable_table_by_flags(status: TrainableStatus) -> Table:
    """Consecutive variables with the same flags and results in one row; contradictions first.

    Moving statistics are left out: they are never trainable.
    """
    columns = (
        Column("variables", "name"),
        Column("n"),
        Column("declared", "text"),
        Column("in model", "flag"),
        Column("gradient", "flag"),
        Column("changed", "flag"),
    )
    rows = []
    weights = [r for r in status.rows if r.variable_flag or not (r.layer_flag and r.parents_flag)]
    for key, group in groupby(weights, key=_declared_and_measured):
        variables = list(group)
        names = _name_range(variables[0].path, variables[-1].path)
        rows.append((names, len(variables), *key))
    rows.sort(key=lambda row: not _contradicts_declaration(*row[2:]))
    return _make_table("Trainable variables", columns, rows)


def _declared_and_measured(row: TrainableRow) -> tuple[str, bool, bool | None, bool | None]:
    named = {"layer": row.layer_flag, "parents": row.parents_flag, "variable": row.variable_flag}
    frozen = [name for name, flag in named.items() if not flag]
    return (
        f"not by {frozen[0]}" if frozen else "yes", row.in_model, row.has_gradient, row.changed,
    )  # fmt: skip


def _contradicts_declaration(declared: str, in_model: bool, *facts: bool | None) -> bool:
    """Whether a known fact differs from what the flags declare."""
    return any(fact is not None and fact != (declared == "yes") for fact in (in_model, *facts))


def _name_range(first: str, last: str) -> str:
    return first if first == last else f"{first} … {last}"


def gradient_table_by_block(history: GradientHistory, measured: Measurements, most: int) -> Table:
    """Norms at the first and last step, in network order; layers are grouped into ``most`` rows."""
    layers = layer_order.in_network_order([v.layer for v in history.variables], measured)
    grouped = layer_order.group_into_rows(layers, most)
    norms = layer_order.row_norms(layer_order.layer_norms(history, layers), layers, grouped)
    columns = (Column("layers", "name"), Column("|g| first"), Column("|g| last"))
    ends = norms if norms.shape[1] else np.full((len(grouped), 1), np.nan)
    rows = ((row.label(52), ends[i][0], ends[i][-1]) for i, row in enumerate(grouped))
    return _make_table("Gradient norms", columns, rows)
