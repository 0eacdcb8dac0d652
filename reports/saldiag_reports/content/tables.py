"""Measurements as tables of raw values; a terminal and a page format the same cells."""

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
    bounded_percent,
    byte_size,
    grouped_number,
    location,
    score,
    yes_no,
)
from saldiag_reports.content import hypothesis_text, layer_order

Kind = Literal["name", "text", "number", "score", "share", "size", "flag"]

_FORMATS: dict[Kind, Callable[[Any], str]] = {
    "name": lambda value: str(value) or "(model)",
    "text": str,
    "number": grouped_number,
    "score": score,
    "share": bounded_percent,
    "size": byte_size,
    "flag": yes_no,
}
NUMERIC: tuple[Kind, ...] = ("number", "score", "share", "size")


@dataclass(frozen=True)
class Column:
    """A heading and how the cells below it read; ``tip`` explains the heading."""

    title: str
    kind: Kind = "number"
    tip: str = ""

    @property
    def numeric(self) -> bool:
        """Whether cells are numbers, set flush right and sorted by value."""
        return self.kind in NUMERIC

    def text(self, value: Any) -> str:
        """The cell as it is read."""
        return _FORMATS[self.kind](value)

    def key(self, value: Any) -> str | None:
        """What a page sorts by: a plain number, or None where there is none."""
        if not self.numeric or value is None or np.isnan(value):
            return None
        return repr(float(value))


@dataclass(frozen=True)
class Table:
    """Rows of raw values under columns; ``caption`` names it for those who cannot see it.

    ``left_out`` counts rows that the measurement has and the table does not.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    left_out: int = 0


def _table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> Table:
    return Table(caption, tuple(columns), tuple(tuple(row) for row in rows))


def gradients(history: GradientHistory) -> Table:
    """One row a variable: its gradient at the first and the last step, and what became of it."""
    columns = [
        Column("variable", "name"),
        Column("size", "number"),
        Column("|g| first", tip="L2 norm at the first recorded step"),
        Column("|g| last", tip="L2 norm at the last recorded step"),
        Column("max |g|", tip="largest element over all recorded steps"),
        Column("zero", "share", "share of elements that are exactly zero, at the last step"),
        Column("not finite", "share", "largest share of NaN or infinite elements at any step"),
        Column("|Δw|/|w|", tip="median update-to-weight ratio"),
    ]
    ends = {"first": 0, "last": -1}
    norm = {key: _step(history.norm, index, history) for key, index in ends.items()}
    zero = _step(history.zero_share, -1, history)
    broken = _over_steps(np.max, history.nonfinite_share, history)
    largest = _over_steps(np.max, history.maximum, history)
    update = _over_steps(np.median, history.update_ratio, history)
    rows = (
        (v.path, int(np.prod(v.shape)), norm["first"][i], norm["last"][i], largest[i], zero[i],
         broken[i], update[i])
        for i, v in enumerate(history.variables)
    )  # fmt: skip
    return _table("Gradient of every trainable variable", columns, rows)


def _step(values: Any, index: int, history: GradientHistory) -> list[float]:
    grid = np.asarray(values, dtype=float)
    return [*grid[index]] if len(grid) else [float("nan")] * len(history.variables)


def _over_steps(reduce: Callable[[Any], Any], values: Any, history: GradientHistory) -> list[float]:
    grid = np.asarray(values, dtype=float)
    columns = grid.T if len(grid) else np.full((len(history.variables), 1), np.nan)
    held = [column[~np.isnan(column)] for column in columns]
    return [float(reduce(values)) if values.size else float("nan") for values in held]


def flow(measured: GradientFlow) -> Table:
    """One row a leaf call: the gradient after it and before it."""
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
    return _table("Gradient at every layer call", columns, rows)


def _flow_remark(row: Any) -> str:
    if row.skipped:
        return str(row.skipped)
    return "" if row.differentiable_input else "input is not differentiable"


def activations(measured: Activations) -> Table:
    """One row a leaf call: what comes out of it."""
    columns = [
        Column("layer call", "name"),
        Column("kind", "text"),
        Column("activation", "text"),
        Column("mean"),
        Column("std"),
        Column("min"),
        Column("max"),
        Column("zero", "share", "share of elements that are exactly zero"),
        Column("dead", "share", "share of units that are zero for every sample and place"),
        Column("saturated", "share", "share of elements at a bounded activation's limits"),
        Column("not finite", "share"),
        Column(
            "variation", tip="across samples, relative to the whole; 0: the same for every input"
        ),
    ]
    rows = (_activation(row) for row in measured.rows if row.leaf)
    return _table("Output of every layer call", columns, rows)


def _activation(row: ActivationRow) -> tuple[Any, ...]:
    return (
        row.path, row.kind, row.activation or "", row.mean, row.std, row.minimum, row.maximum,
        row.zero_share, row.dead_share, row.saturated_share, row.nonfinite_share,
        row.sample_variation,
    )  # fmt: skip


def dtypes(trace: DtypeTrace) -> Table:
    """One row a leaf call: the dtypes it computes in, holds, takes and gives."""
    columns = [
        Column("layer call", "name"),
        Column("kind", "text"),
        Column("computes in", "text"),
        Column("variables", "text"),
        Column("takes", "text"),
        Column("gives", "text"),
        Column("parameters"),
    ]
    rows = (
        (r.path, r.kind, r.compute, r.variable, _listed(r.inputs), _listed(r.outputs), r.parameters)
        for r in trace.rows
        if r.leaf
    )
    return _table("Dtypes of every layer call", columns, rows)


def casts(trace: DtypeTrace) -> Table:
    """One row a place where the dtype changes."""
    columns = [
        Column("at", "name"),
        Column("from", "text"),
        Column("to", "text"),
        Column("elements"),
        Column("written", "size", "bytes for one batch"),
    ]
    rows = ((c.path, c.before, c.after, c.elements, c.size) for c in trace.casts)
    return _table("Where the dtype changes", columns, rows)


def trainable(status: TrainableStatus) -> Table:
    """One row a variable: what is declared, and what is so."""
    columns = [
        Column("variable", "name"),
        Column("size"),
        Column("layer", "flag", "trainable flag of its own layer"),
        Column("parents", "flag", "trainable flags of all layers above"),
        Column("own", "flag", "trainable flag of the variable"),
        Column("model", "flag", "among model.trainable_variables"),
        Column("optimizer", "flag", "among the optimizer's variables"),
        Column("gradient", "flag", "a step gave it a gradient"),
        Column("changed", "flag", "a step changed its value"),
        Column("distance", tip="Kolmogorov-Smirnov distance from its initializer's draw, times √n"),
    ]
    return _table("Every variable", columns, (_declared(row) for row in status.rows))


def _declared(row: TrainableRow) -> tuple[Any, ...]:
    return (
        row.path, row.size, row.layer_flag, row.parents_flag, row.variable_flag, row.in_model,
        row.in_optimizer, row.has_gradient, row.changed, row.start_distance,
    )  # fmt: skip


def normalization(status: TrainableStatus) -> Table:
    """One row a BatchNorm layer."""
    columns = [
        Column("layer", "name"),
        Column("trainable", "flag"),
        Column("training mode", "flag", "uses the batch's statistics while the model trains"),
        Column("momentum"),
        Column("at start", "flag", "still holds its start values"),
    ]
    rows = (
        (r.path, r.trainable, r.training_mode, r.momentum, r.at_start) for r in status.normalization
    )
    return _table("BatchNorm layers", columns, rows)


def tensors(facts: DataFacts) -> Table:
    """One row a tensor that goes in, should come out, or comes out."""
    columns = [
        Column("tensor", "name"),
        Column("shape", "text"),
        Column("dtype", "text"),
        Column("min"),
        Column("max"),
        Column("mean"),
        Column("std"),
        Column("NaN", "share"),
        Column("variation", tip="across samples, relative to the whole"),
        Column("distinct", tip="distinct values, counted up to 1,000"),
    ]
    rows = (
        (f"{role} {t.name}" if t.name != role else role, _shape(t.shape), t.dtype, t.minimum,
         t.maximum, t.mean, t.std, t.nan_share, t.sample_variation, t.distinct)
        for role, group in (
            ("input", facts.inputs), ("target", facts.targets), ("prediction", facts.predictions),
        )
        for t in group
    )  # fmt: skip
    return _table("What goes in, what should come out, what comes out", columns, rows)


def _shape(shape: tuple[int | None, ...]) -> str:
    return " x ".join("?" if length is None else str(length) for length in shape)


def warnings(log: WarningLog) -> Table:
    """One row a warning of the framework."""
    columns = [
        Column("warning", "text"),
        Column("raised at", "text"),
        Column("times"),
        Column("silenced", "flag", "the program's filters would have hidden it"),
        Column("by", "text", "where that filter was installed"),
    ]
    rows = (
        (f"{w.category}: {w.message}", f"{w.file}:{w.line}" if w.file else "", w.count,
         w.silenced, location(w.silenced_by))
        for w in log.warnings
    )  # fmt: skip
    return _table("What Keras and TensorFlow said", columns, rows)


def looks(found: Sequence[LayerLook]) -> Table:
    """One row a layer, from input to output: what a linear probe of it knows of the targets."""
    columns = [
        Column("layer", "text"),
        Column("kind", "text"),
        Column("information", tip="R² of a linear probe on items it was not fitted to"),
        Column("features"),
        Column("own gradient", tip="|g| of its weights with the probe in place of the rest"),
    ]
    rows = ((r.layer, r.kind, r.information, r.features, r.own_gradient) for r in found)
    return _table("What each layer knows of the targets before training", columns, rows)


def hypotheses(found: Sequence[Hypothesis]) -> Table:
    """One row a hypothesis: what was changed, and what came of it."""
    columns = [
        Column("outcome", "text"),
        Column("hypothesis", "text"),
        Column("what was changed", "text"),
        Column("error before", tip="mean absolute error of the control, in the targets' unit"),
        Column("after", tip="the same with the change; means over the seeds"),
        Column("effect", tip="mean difference in R² over the seeds"),
        Column("interval", "text", "of the effect, at 95 %: a bootstrap over seeds and items"),
        Column("restored", "text", "seeds in which learning is restored"),
        Column("steps"),
    ]
    return _table("Hypotheses, and what experiments made of them", columns, map(_tested, found))


def _tested(h: Hypothesis) -> tuple[Any, ...]:
    by = f"; suspected by {', '.join(h.suspected_by)}" if h.suspected_by else ""
    if not h.tried:
        none = float("nan")
        return (h.outcome, h.hypothesis + by, h.reason, none, none, none, NO_VALUE, NO_VALUE, none)
    whole = hypothesis_text.interval(h).replace(" ", "\N{NO-BREAK SPACE}")
    mode = " (in inference mode)" if h.mode == "inference" else ""
    return (
        h.outcome, h.hypothesis + by, h.intervention + mode, *h.error, h.effect,
        whole, f"{h.restored} of {h.seeds}", h.steps,
    )  # fmt: skip


def mask_scores(found: Sequence[DatasetScores]) -> Table:
    """One row a data set: how well its predicted masks match the ground truths."""
    columns = [
        Column("data set", "name"),
        Column("n", tip="pictures with a ground truth"),
        Column("MAE", "score", "mean absolute error; lower is better"),
        Column("max F", "score", "highest point of the mean F-beta curve, beta² = 0.3"),
        Column("mean F", "score", "mean of the mean F-beta curve over 256 thresholds"),
        Column("weighted F", "score", "Margolin et al., CVPR 2014, beta² = 0.3"),
        Column("S", "score", "structure measure (Fan et al., ICCV 2017)"),
        Column("mean E", "score", "enhanced alignment, mean over 256 thresholds (IJCAI 2018)"),
        Column("adaptive E", "score", "enhanced alignment, cut at twice each mask's mean"),
    ]
    rows = (
        (row.dataset, row.pictures, s.mae, s.max_f_beta, s.mean_f_beta, s.weighted_f_beta,
         s.s_measure, s.mean_e_measure, s.adaptive_e_measure)
        for row in found
        for s in (row.scores,)
    )  # fmt: skip
    return _table("Predicted masks against ground truths", columns, rows)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def dtypes_by_kind(trace: DtypeTrace) -> Table:
    """One row for all calls of one kind of layer that agree in their dtypes."""
    each = dtypes(trace)
    gathered: dict[tuple[Any, ...], list[int]] = {}
    for row in each.rows:
        gathered.setdefault(row[1:6], []).append(row[6])
    columns = (each.columns[1], Column("calls"), *each.columns[2:])
    rows = ((key[0], len(held), *key[1:], sum(held)) for key, held in gathered.items())
    return _table("Dtypes by kind of layer", columns, rows)


def trainable_by_flags(status: TrainableStatus) -> Table:
    """Consecutive variables that agree in flags and facts in one row; contradictions first.

    What is no weight by its nature (moving statistics) is left out: it is never trainable.
    """
    columns = (
        Column("variables", "name"),
        Column("n"),
        Column("declared", "text"),
        Column("in model", "flag"),
        Column("gradient", "flag"),
        Column("changed", "flag"),
    )
    joined = []
    weights = [r for r in status.rows if r.variable_flag or not (r.layer_flag and r.parents_flag)]
    for key, group in groupby(weights, key=_flags):
        held = list(group)
        joined.append((_span(held[0].path, held[-1].path), len(held), *key))
    joined.sort(key=lambda row: not _contradicts(*row[2:]))
    return _table("Variables by what is so of them", columns, joined)


def _flags(row: TrainableRow) -> tuple[str, bool, bool | None, bool | None]:
    named = {"layer": row.layer_flag, "parents": row.parents_flag, "variable": row.variable_flag}
    frozen = [name for name, flag in named.items() if not flag]
    return (
        f"not by {frozen[0]}" if frozen else "yes", row.in_model, row.has_gradient, row.changed,
    )  # fmt: skip


def _contradicts(declared: str, in_model: bool, *facts: bool | None) -> bool:
    """Whether what is declared and what is so differ; what is not known contradicts nothing."""
    return any(fact is not None and fact != (declared == "yes") for fact in (in_model, *facts))


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} … {last}"


def gradients_by_block(history: GradientHistory, measured: Measurements, most: int) -> Table:
    """At most ``most`` rows of layers in network order: norm at the first and the last step."""
    layers = layer_order.in_network_order([v.layer for v in history.variables], measured)
    gathered = layer_order.rows(layers, most)
    norms = layer_order.combine(layer_order.layer_norms(history, layers), layers, gathered)
    columns = (Column("layers", "name"), Column("|g| first"), Column("|g| last"))
    ends = norms if norms.shape[1] else np.full((len(gathered), 1), np.nan)
    rows = ((row.label(52), ends[i][0], ends[i][-1]) for i, row in enumerate(gathered))
    return _table("Gradient norm", columns, rows)
