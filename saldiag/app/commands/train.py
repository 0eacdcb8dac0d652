"""``saldiag train``: a training run that is diagnosed before the first step, with probes on.

The built-in models have the recipe of the case; a model of the user's is trained as it was
compiled, by the same loop: epochs, validation, checkpoints, early stopping, going on after a kill.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from saldiag.app.examine.examination import Examination
from saldiag.app.examine.uncallable import explaining, unless_unusable
from saldiag.app.session.command_options import TrainOptions
from saldiag.app.session.option_checks import refuse_unused
from saldiag.app.session.options import Precision, prepare_environment
from saldiag.app.session.request import DataRequest, Request, parse_request
from saldiag.app.session.session import Session, own_stdout, run_session
from saldiag.app.subject.subject import MAX_PICTURES, Batches, Subject
from saldiag.core.errors import SaldiagError
from saldiag.core.files.run import Run
from saldiag.core.findings.diagnosis import Verdict
from saldiag.core.measurement import GradientHistory, SourceFiles, ValidationCheck
from saldiag.core.training.fit_plan import FitPlan
from saldiag.core.training.numbers import TrainingNumbers
from saldiag.subject.data.fit_batches import PREVIEW_BATCHES
from saldiag.subject.program.source_snapshot import SourceSnapshot

if TYPE_CHECKING:
    from saldiag.app.commands.held_out import HeldOut
    from saldiag.experiments.overfit.mode_errors import Batch, ModeErrors
    from saldiag.experiments.training.loop import TrainingOutcome
    from saldiag.image_masks.storage import Item
    from saldiag.recipes.saliency_training import Recipe
    from saldiag.recipes.training import TrainingData
    from saldiag.subject.models.input_spec import InputSpec

FOLLOWS = ("SD802", "SD614", "SD615", "SD616", "SD410")
"""Rules that tell, while a training goes on, why its validation does not follow."""


@dataclass(frozen=True)
class AsCompiled(TrainingNumbers):
    """The numbers of a training of the user's model."""

    loss: str | None = None
    """Loss in place of the model's own; None to keep that."""
    optimizer: str | None = None
    """Optimizer in place of the model's own; None to keep that."""


def train(options: TrainOptions) -> int:
    """Train; returns the exit code.

    Raises:
        SaldiagError: bad numbers, data, weights or run directory; an option that has no effect.
    """
    request = parse_request(options.shared)
    if options.shared.resume and options.shared.out is not None:
        Run.open(options.shared.out)  # refuses a folder without a run before TensorFlow starts
    if request.model.spec.registered is None:
        return _train_as_compiled(options, request)
    return _train_by_recipe(options, request)


def _train_by_recipe(options: TrainOptions, request: Request) -> int:
    shared = options.shared
    if request.data.spec.kind != "pairs":
        raise SaldiagError(
            f"saldiag train trains {shared.model} on image-and-mask pairs: give a folder with"
            " images/ and masks/, or MSRA10K (your own model trains on any --data)"
        )
    if shared.optimizer is not None:
        raise SaldiagError("--optimizer is for your own model: the recipe trains with Adam")
    prepare_environment()
    from saldiag.recipes.saliency_training import Recipe

    recipe = Recipe(
        **options.numbers, **options.given("image_size", "loss"), **options.recipe.given()
    )
    session = _session(options, recipe)
    return run_session(session, lambda: _by_recipe(session, options, request, recipe))


def _train_as_compiled(options: TrainOptions, request: Request) -> int:
    if options.recipe.given():
        name = next(iter(options.recipe.given())).replace("_", "-")
        raise SaldiagError(
            f"--{name} belongs to the recipe of quicksal: your own model trains as it was compiled;"
            " change that with --optimizer, --learning-rate and --loss"
        )
    replaced = options.given("loss", "optimizer")
    numbers, note = AsCompiled(**options.numbers, **replaced).resolved()
    assert note is None  # nothing is chosen by the hardware
    precision: Precision = numbers.precision if numbers.precision != "auto" else "float32"
    request = replace(
        request,
        model=replace(request.model, precision=precision),
        data=replace(request.data, items=0),
    )
    refuse_unused(
        replace(options.shared, precision=precision), request.model.spec, request.data.spec
    )
    prepare_environment()
    session = _session(options, numbers)

    def work() -> Verdict:
        with own_stdout(options.shared.output_format):
            return unless_unusable(
                session, lambda: _as_compiled(session, options, request, numbers)
            )

    return run_session(session, work)


def _session(options: TrainOptions, numbers: TrainingNumbers) -> Session:
    config = {**options.shared.config(), "probes": options.probes, **asdict(numbers)}
    return Session.on("train", options.shared, config)


def _by_recipe(
    session: Session, options: TrainOptions, request: Request, recipe: Recipe
) -> Verdict:
    from saldiag.app.commands.held_out import score_held_out
    from saldiag.app.subject.registered_model import build_registered, read_items
    from saldiag.recipes.saliency_training import training_data

    with session.phase("reading data"):
        training, validation, held_out = _splits(request, recipe)
        data = training_data(training, validation, recipe)
    session.attempt(SourceFiles, SourceSnapshot().source_files)

    def subject() -> Subject:
        model = replace(request.model, loss=recipe.loss, seed=recipe.seed)
        with session.phase("building the model"):
            return build_registered(model, recipe.image_size, recipe.schedule(), session.files)

    trained, outcome, verdict = _trained(session, options, recipe, data, subject)
    score_held_out(session, trained.model, outcome, held_out)
    shown = read_items(validation[:MAX_PICTURES], recipe.image_size, MAX_PICTURES)
    Examination(session, trained, shown).pictures()
    return verdict


def _as_compiled(
    session: Session, options: TrainOptions, request: Request, numbers: TrainingNumbers
) -> Verdict:
    """Train the user's model as it was compiled, except for what the options change."""
    from saldiag.app.commands.held_out import score_held_out
    from saldiag.app.subject.epochs import Epochs, open_epochs
    from saldiag.app.subject.mask_model import makes_masks
    from saldiag.app.subject.user_model import load_with_data

    def read(spec: InputSpec) -> tuple[Epochs, Any, tuple[str, ...]]:
        epochs = open_epochs(request.data, spec, numbers)
        return epochs, epochs.data.first_batch()[0], epochs.notes

    subject, epochs = load_with_data(request.model, request.data.spec, session, read)
    session.attempt(SourceFiles, SourceSnapshot().source_files)
    _, outcome, verdict = _trained(session, options, numbers, epochs.data, lambda: subject)
    if epochs.validation and makes_masks(subject.model):
        held_out = _validation_pairs(request.data, epochs.validation)
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
        with explaining(examination, "call") if made.is_users else nullcontext():
            examination.survey()
        examination.look_at_data()
        examination.look_ahead()
        looks.append(examination)
        return examination.model

    def notify(line: str) -> None:
        session.note(line)
        session.write_info("running")

    def subject_of_checks() -> tuple[ModeErrors, Sequence[Batch]]:
        return looks[0].errors, tuple(itertools.islice(data.train(0), PREVIEW_BATCHES))

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


def _splits(request: Request, recipe: Recipe) -> tuple[Sequence[Item], Sequence[Item], HeldOut]:
    """Pairs to train on, pairs to validate with, and those that take no part in the training."""
    from saldiag.app.commands.held_out import HeldOut
    from saldiag.image_masks.msra10k import take_subset

    dataset, share = request.data.pairs, request.data.share
    splits = dataset.split(recipe.seed)
    training, validation, test = (
        take_subset(part, share, at_least=recipe.batch_size, seed=recipe.seed)
        for part in (splits.train, splits.val, splits.test)
    )
    held_out = HeldOut(
        dataset.name, "test", test, recipe.image_size, "auto", trained_at=recipe.image_size
    )
    return training, validation, held_out


def _validation_pairs(request: DataRequest, numbers: Sequence[int]) -> HeldOut:
    """The pairs that the user's model was validated with."""
    from saldiag.app.commands.held_out import HeldOut

    dataset = request.pairs
    items = [dataset.items[number] for number in numbers]
    return HeldOut(
        dataset.name,
        "validation",
        items,
        request.image_size,
        request.pixels,
        trained_at=request.sizes.image,
    )


def _plan(numbers: TrainingNumbers, steps: int) -> FitPlan:
    """The numbers as arguments of ``fit``: early stopping is Keras' own, done by the loop."""
    import keras

    return FitPlan(
        epochs=numbers.epochs,
        steps_per_epoch=steps,
        batch_size=numbers.batch_size,
        callbacks=(keras.callbacks.EarlyStopping("val_loss", patience=numbers.patience),),
    )
