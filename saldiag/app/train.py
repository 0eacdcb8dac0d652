"""``saldiag train``: the recipe of the case, diagnosed before the first step, with probes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saldiag.app.follow import follow_batch
from saldiag.app.load import build_subject
from saldiag.app.options import Options, prepare_environment
from saldiag.app.session import Session, conduct
from saldiag.core.diagnosis import Verdict
from saldiag.core.finding import Severity

if TYPE_CHECKING:
    from saldiag.quicksal.storage import Item
    from saldiag.quicksal.training import Recipe


@dataclass(frozen=True)
class TrainOptions:
    """What ``saldiag train`` takes besides the numbers of the recipe."""

    model: str = "quicksal"
    weights: str = "auto"
    data: Path | None = None
    subset: float = 1.0
    probes: str = "economy"
    out: Path | None = None
    resume: bool = False
    output_format: str = "text"
    fail_on: Severity = "error"


def train(options: TrainOptions, numbers: dict[str, Any]) -> int:
    """Train by the recipe whose fields are ``numbers``; returns the exit code.

    Raises:
        SaldiagError: bad numbers, data, weights or run directory.
    """
    prepare_environment()
    from saldiag.quicksal.training import Recipe

    recipe = Recipe(**numbers)
    session = Session(
        "train",
        config={**asdict(options), **asdict(recipe)},
        seed=recipe.seed,
        out=options.out,
        output_format=options.output_format,
        fail_on=options.fail_on,
        resume=options.resume,
    )
    return conduct(session, lambda: _train(session, options, recipe))


def _train(session: Session, options: TrainOptions, recipe: Recipe) -> Verdict:
    from saldiag.experiments.train import run_training
    from saldiag.quicksal.training import training_data

    with session.phase("reading data"):
        data = training_data(*_items(options, recipe), recipe)
    outcome = run_training(
        lambda: _model(session, options, recipe, data.first_batch()),
        data,
        recipe,
        session.run,
        probes=options.probes,
        resume=options.resume,
        console=session.console,
    )
    session.measured = session.run.read_measurements().with_(*session.measured)
    session.add(outcome.history)
    session.note(outcome.message)
    if outcome.stopped == "interrupted":
        raise KeyboardInterrupt
    return "does_not_learn" if outcome.stopped == "non-finite" else "not_tested"


def _items(options: TrainOptions, recipe: Recipe) -> tuple[Sequence[Item], Sequence[Item]]:
    from saldiag.quicksal.msra10k import open_dataset, subset

    splits = open_dataset(options.data).split(recipe.seed)
    size, seed = recipe.batch_size, recipe.seed
    training = subset(splits.train, options.subset, at_least=size, seed=seed)
    return training, subset(splits.val, options.subset, at_least=size, seed=seed)


def _model(session: Session, options: TrainOptions, recipe: Recipe, batch: Any) -> Any:
    """Build the model, and look at it before the first step."""
    named = Options(
        model=options.model, weights=options.weights, loss=recipe.loss, seed=recipe.seed
    )
    with session.phase("building the model"):
        subject = build_subject(named, recipe.image_size, recipe.schedule())
    session.notes(subject.notes)
    follow_batch(session, subject, batch)
    return subject.model
