"""``saldiag train``: the recipe of the case, diagnosed before the first step, with probes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saldiag.app.examination import PICTURES, Examination
from saldiag.app.load import Batches, build_subject, check_inputs, parse_model, read_items
from saldiag.app.options import Options, prepare_environment
from saldiag.app.session import Session, conduct
from saldiag.app.settings import RuleChoice
from saldiag.core.diagnosis import Verdict
from saldiag.core.errors import SaldiagError
from saldiag.core.finding import Severity
from saldiag.core.fitting import FitPlan
from saldiag.core.measurement import GradientHistory, SourceFiles
from saldiag.subject.named import parse_data
from saldiag.subject.own_files import OwnFiles

if TYPE_CHECKING:
    from saldiag.quicksal.storage import Item
    from saldiag.quicksal.training import Recipe


@dataclass(frozen=True)
class TrainOptions:
    """What ``saldiag train`` takes besides the numbers of the recipe."""

    model: str = "quicksal"
    weights: str = "auto"
    data: str | None = None
    subset: float = 1.0
    probes: str = "economy"
    out: Path | None = None
    resume: bool = False
    output_format: str = "text"
    fail_on: Severity = "error"
    rules: RuleChoice = field(default_factory=RuleChoice)


def train(options: TrainOptions, numbers: dict[str, Any]) -> int:
    """Train by the recipe whose fields are ``numbers``; returns the exit code.

    Raises:
        SaldiagError: bad numbers, data, weights or run directory.
    """
    _refuse_others(options)
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
        rules=options.rules,
    )
    return conduct(session, lambda: _train(session, options, recipe))


def _refuse_others(options: TrainOptions) -> None:
    """The recipe is for the built-in models and pairs of image and mask."""
    asked = Options(model=options.model, data=options.data)
    check_inputs(asked)
    if parse_model(asked.model).kind != "built-in" or parse_data(asked.data).kind != "pairs":
        raise SaldiagError(
            "saldiag train is the recipe of the case (cyclic rate, F-beta, its checkpoints), which"
            " holds for quicksal and pairs of image and mask alone: `saldiag run SCRIPT` watches a"
            " training of your own as your program does it, `saldiag overfit` and `saldiag"
            " gradients` take any --model and --data"
        )


def _train(session: Session, options: TrainOptions, recipe: Recipe) -> Verdict:
    from saldiag.experiments.train import run_training
    from saldiag.quicksal.training import training_data

    with session.phase("reading data"):
        training, validation = _items(options, recipe)
        data = training_data(training, validation, recipe)
    session.attempt(SourceFiles, OwnFiles().measured)
    looks: list[Examination] = []

    def model() -> Any:
        plan = _plan(recipe, data.steps)
        looks.append(_examined(session, options, recipe, data.first_batch(), plan))
        return looks[0].model

    outcome = run_training(
        model, data, recipe, session.run,
        probes=options.probes, resume=options.resume, console=session.console,
    )  # fmt: skip
    session.measured = session.run.read_measurements().with_(*session.measured)
    session.add(outcome.history)
    session.note(outcome.message)
    if outcome.stopped == "interrupted":
        raise KeyboardInterrupt
    looks[0].trainable(session.measured.get(GradientHistory))
    shown = read_items(validation[:PICTURES], recipe.image_size, recipe.batch_size)
    Examination(session, looks[0].subject, shown).pictures()
    stuck = outcome.stopped == "non-finite" or looks[0].no_gradient()
    return "does_not_learn" if stuck else "not_tested"


def _items(options: TrainOptions, recipe: Recipe) -> tuple[Sequence[Item], Sequence[Item]]:
    from saldiag.quicksal.msra10k import open_dataset, subset

    where = Path(options.data) if options.data is not None else None
    splits = open_dataset(where).split(recipe.seed)
    size, seed = recipe.batch_size, recipe.seed
    training = subset(splits.train, options.subset, at_least=size, seed=seed)
    return training, subset(splits.val, options.subset, at_least=size, seed=seed)


def _plan(recipe: Recipe, steps: int) -> FitPlan:
    """The recipe as arguments of ``fit``: its early stopping is Keras' own, done by the loop."""
    import keras

    return FitPlan(
        epochs=recipe.epochs,
        steps_per_epoch=steps,
        batch_size=recipe.batch_size,
        callbacks=(keras.callbacks.EarlyStopping("val_loss", patience=recipe.patience),),
    )


def _examined(
    session: Session, options: TrainOptions, recipe: Recipe, batch: Any, plan: FitPlan
) -> Examination:
    """Build the model, and look at it and at a batch before the first step."""
    named = Options(
        model=options.model, weights=options.weights, loss=recipe.loss, seed=recipe.seed
    )
    with session.phase("building the model"):
        subject = build_subject(named, recipe.image_size, recipe.schedule())
    session.notes(subject.notes)
    examination = Examination(session, subject, Batches((batch,)), plan)
    examination.survey()
    examination.look_at_data()
    examination.look_ahead()
    return examination
