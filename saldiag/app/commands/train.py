"""``saldiag train``: a training run that is diagnosed before the first step, with probes on.

The built-in models have the recipe of the case; a model of the user's is trained as it was
compiled, by the same loop: epochs, validation, checkpoints, early stopping, going on after a kill.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saldiag.app.examine.examination import Examination
from saldiag.app.examine.uncallable import explaining, unless_refused
from saldiag.app.session.options import Options, Precision, prepare_environment
from saldiag.app.session.session import Session, conduct, own_stdout
from saldiag.app.subject.load import (
    PICTURES,
    Batches,
    Subject,
    build_subject,
    check_inputs,
    parse_model,
    read_items,
)
from saldiag.core.errors import SaldiagError
from saldiag.core.findings.diagnosis import Verdict
from saldiag.core.measurement import GradientHistory, SourceFiles, ValidationCheck
from saldiag.core.training.fit_plan import FitPlan
from saldiag.core.training.numbers import TrainingNumbers
from saldiag.subject.data.fit_batches import BATCHES
from saldiag.subject.models.spec import DataName, parse_data
from saldiag.subject.program.source_snapshot import OwnFiles

if TYPE_CHECKING:
    from saldiag.app.commands.held_out import HeldOut
    from saldiag.experiments.overfit.mode_errors import Batch, ModeErrors
    from saldiag.experiments.training.loop import TrainingOutcome
    from saldiag.image_masks.storage import Item
    from saldiag.recipes.saliency_training import Recipe
    from saldiag.recipes.training import TrainingData
    from saldiag.subject.models.input_spec import Takes

OF_THE_RECIPE = ("base_learning_rate", "max_learning_rate", "step_size", "beta2")
"""Numbers that only the recipe of the case has."""

FOLLOWS = ("SD802", "SD614", "SD615", "SD616", "SD410")
"""Rules that tell, while a training goes on, why its validation does not follow."""


@dataclass(frozen=True)
class AsCompiled(TrainingNumbers):
    """The numbers of a model of the user's, and what replaces its own; None keeps that."""

    loss: str | None = None
    optimizer: str | None = None


@dataclass(frozen=True)
class TrainOptions:
    """What ``saldiag train`` takes: what all commands take, and the numbers of a training.

    ``precision`` may be ``auto``. ``cycle`` holds those of ``OF_THE_RECIPE`` that were given.
    """

    shared: Options
    precision: str = "auto"
    epochs: int = 50
    patience: int = 10
    probes: str = "economy"
    recalibrate: bool = False
    cycle: dict[str, Any] = field(default_factory=dict)

    @property
    def own(self) -> bool:
        """Whether the model is the user's."""
        return parse_model(self.shared.model).kind != "built-in"

    def given(self, *names: str) -> dict[str, Any]:
        """Those of the shared options that are not None."""
        values = {name: getattr(self.shared, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers that every training has, by name."""
        return {
            **self.given("batch_size", "learning_rate"),
            "epochs": self.epochs,
            "patience": self.patience,
            "precision": self.precision,
            "seed": self.shared.seed,
            "recalibrate": self.recalibrate,
        }


def train(options: TrainOptions) -> int:
    """Train; returns the exit code.

    Raises:
        SaldiagError: bad numbers, data, weights or run directory; an option that has no use.
    """
    if options.own:
        return _train_own(options)
    return _train_built_in(options)


def _train_built_in(options: TrainOptions) -> int:
    shared = options.shared
    check_inputs(shared)
    if parse_data(shared.data).kind != "pairs":
        raise SaldiagError(
            "saldiag train trains quicksal on pairs of image and mask: a folder with images/ and"
            " masks/, or MSRA10K (a model of your own takes any --data)"
        )
    if shared.optimizer is not None:
        raise SaldiagError("--optimizer is for a model of your own: the recipe's is Adam")
    prepare_environment()
    from saldiag.recipes.saliency_training import Recipe

    recipe = Recipe(**options.numbers, **options.given("image_size", "loss"), **options.cycle)
    session = _session(options, recipe)
    return conduct(session, lambda: _by_recipe(session, options, recipe))


def _train_own(options: TrainOptions) -> int:
    if options.cycle:
        name = next(iter(options.cycle)).replace("_", "-")
        raise SaldiagError(
            f"--{name} is of quicksal's recipe: a model of your own is trained as it was compiled;"
            " --optimizer, --learning-rate and --loss change that"
        )
    replaced = options.given("loss", "optimizer")
    numbers, note = AsCompiled(**options.numbers, **replaced).resolved()
    assert note is None  # nothing is chosen by the hardware
    precision: Precision = numbers.precision if numbers.precision != "auto" else "float32"
    asked = replace(options.shared, precision=precision, items=0)
    check_inputs(asked)
    prepare_environment()
    session = _session(options, numbers)

    def whole() -> Verdict:
        with own_stdout(options.shared.output_format):
            return unless_refused(session, lambda: _as_compiled(session, options, asked, numbers))

    return conduct(session, whole)


def _session(options: TrainOptions, numbers: TrainingNumbers) -> Session:
    config = {**options.shared.config(), "probes": options.probes, **asdict(numbers)}
    return Session.on("train", options.shared, config)


def _by_recipe(session: Session, options: TrainOptions, recipe: Recipe) -> Verdict:
    from saldiag.app.commands.held_out import score_held_out
    from saldiag.recipes.saliency_training import training_data

    with session.phase("reading data"):
        training, validation, held_out = _items(options, recipe)
        data = training_data(training, validation, recipe)
    session.attempt(SourceFiles, OwnFiles().measured)

    def subject() -> Subject:
        named = replace(options.shared, loss=recipe.loss, seed=recipe.seed, learning_rate=None)
        with session.phase("building the model"):
            return build_subject(named, recipe.image_size, recipe.schedule())

    trained, outcome, verdict = _trained(session, options, recipe, data, subject)
    score_held_out(session, trained.model, outcome, held_out)
    shown = read_items(validation[:PICTURES], recipe.image_size, recipe.batch_size)
    Examination(session, trained, shown).pictures()
    return verdict


def _as_compiled(
    session: Session, options: TrainOptions, asked: Options, numbers: TrainingNumbers
) -> Verdict:
    """Train a model of the user's as it was compiled, but for what the options change."""
    from saldiag.app.commands.held_out import score_held_out
    from saldiag.app.subject.epochs import Epochs, epochs_of
    from saldiag.app.subject.mask_model import makes_masks
    from saldiag.app.subject.pair_model_data import own_with

    def read(name: DataName, takes: Takes) -> tuple[Epochs, Any, tuple[str, ...]]:
        epochs = epochs_of(asked, name, takes, numbers)
        return epochs, epochs.data.first_batch()[0], epochs.notes

    subject, epochs = own_with(asked, session, read)
    session.attempt(SourceFiles, OwnFiles().measured)
    _, outcome, verdict = _trained(session, options, numbers, epochs.data, lambda: subject)
    if epochs.validation and makes_masks(subject.model):
        held_out = _validation_pairs(asked, epochs.validation)
        score_held_out(session, subject.model, outcome, held_out)
    if epochs.shown.pixels:
        Examination(session, subject, epochs.shown).pictures()
    return verdict


def _trained(
    session: Session,
    options: TrainOptions,
    numbers: TrainingNumbers,
    data: TrainingData,
    subject: Callable[[], Subject],
) -> tuple[Subject, TrainingOutcome, Verdict]:
    """Look at the model and at a batch, and train; the trained model, the outcome, the verdict."""
    from saldiag.app.session.judging import judge
    from saldiag.experiments.training.loop import run_training
    from saldiag.experiments.validation.callback import ValidationWatch
    from saldiag.rules.verdicts.training import verdict_of_training

    looks: list[Examination] = []

    def model() -> Any:
        batch = data.first_batch()
        made = subject()
        session.notes(made.notes)
        examination = Examination(session, made, Batches((batch,)), _plan(numbers, data.steps))
        with explaining(examination, "call") if options.own else nullcontext():
            examination.survey()
        examination.look_at_data()
        examination.look_ahead()
        looks.append(examination)
        return examination.model

    def notify(line: str) -> None:
        session.note(line)
        session.write_info("running")

    def subject_of_checks() -> tuple[ModeErrors, Sequence[Batch]]:
        return looks[0].errors, tuple(itertools.islice(data.train(0), BATCHES))

    def tell(check: ValidationCheck) -> None:
        """Say at once why validation does not follow, and when that was seen."""
        seen = session.measured.with_(check)
        causes = [f for f in judge(seen, session.settings).findings if f.rule in FOLLOWS]
        for finding in causes[:1]:
            notify(f"epoch {check.checked[-1]}: {finding.rule} {finding.message}")

    validation = ValidationWatch(subject_of_checks, tell)
    outcome = run_training(
        model, data, numbers, session.run,
        probes=options.probes, resume=options.shared.resume, console=session.console,
        notify=notify,
        validation=validation,
    )  # fmt: skip
    session.measured = session.run.read_measurements().with_(*session.measured)
    session.add(*validation.measurements(), outcome.history)
    session.missing(ValidationCheck, validation.reason)
    session.note(outcome.message)
    if outcome.stopped == "interrupted":
        raise KeyboardInterrupt
    looks[0].trainable(session.measured.get(GradientHistory))
    stuck = outcome.stopped == "non-finite" or looks[0].no_gradient()
    verdict = "does_not_learn" if stuck else verdict_of_training(session.measured)[0]
    return looks[0].subject, outcome, verdict


def _items(options: TrainOptions, recipe: Recipe) -> tuple[Sequence[Item], Sequence[Item], HeldOut]:
    """Pairs to train on and to validate with, and those that take no part in the training."""
    from saldiag.app.commands.held_out import HeldOut
    from saldiag.image_masks.msra10k import open_dataset, take_subset

    data, share = options.shared.data, options.shared.share
    dataset = open_dataset(Path(data) if data is not None else None)
    splits = dataset.split(recipe.seed)
    training, validation, test = (
        take_subset(part, share, at_least=recipe.batch_size, seed=recipe.seed)
        for part in (splits.train, splits.val, splits.test)
    )
    held_out = HeldOut(dataset.name, "test", test, recipe.image_size, "auto")
    return training, validation, held_out


def _validation_pairs(asked: Options, numbers: Sequence[int]) -> HeldOut:
    """The pairs that a model of the user's was validated with."""
    from saldiag.app.commands.held_out import HeldOut
    from saldiag.image_masks.msra10k import open_dataset

    dataset = open_dataset(parse_data(asked.data).path)
    items = [dataset.items[number] for number in numbers]
    return HeldOut(dataset.name, "validation", items, asked.image_size, asked.pixels)


def _plan(numbers: TrainingNumbers, steps: int) -> FitPlan:
    """The numbers as arguments of ``fit``: early stopping is Keras' own, done by the loop."""
    import keras

    return FitPlan(
        epochs=numbers.epochs,
        steps_per_epoch=steps,
        batch_size=numbers.batch_size,
        callbacks=(keras.callbacks.EarlyStopping("val_loss", patience=numbers.patience),),
    )
