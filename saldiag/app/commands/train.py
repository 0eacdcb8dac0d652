"""``saldiag train``: diagnoses a model before the first step, then trains it with the probes on.

Registered models are trained with their recipe, the user's model as it was compiled. Both use the
same loop: epochs, validation, checkpoints, early stopping, resuming.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from saldiag.app.examine.examination import Examination
from saldiag.app.examine.uncallable import errors_as_findings, run_unless_unusable
from saldiag.app.loading.subject import MAX_SHOWN_IMAGES, Batches, Subject
from saldiag.app.session.command_options import TrainOptions
from saldiag.app.session.options import prepare_environment
from saldiag.app.session.request import DataRequest, Request, parse_request
from saldiag.app.session.session import Session, run_session, stdout_for_diagnosis
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

VALIDATION_RULES = ("SD802", "SD614", "SD615", "SD616", "SD410")
"""Rules that explain during a training why the validation error does not follow."""


@dataclass(frozen=True)
class CompiledTraining(TrainingNumbers):
    """Settings of a training of the user's model."""

    loss: str | None = None
    """Loss in place of the model's own; None to keep that."""
    optimizer: str | None = None
    """Optimizer in place of the model's own; None to keep that."""


def train(options: TrainOptions) -> int:
    """Examine the model and train it; returns the exit code.

    Raises:
        SaldiagError: bad numbers, data, weights or run directory; an option that has no effect.
    """
    shared = options.shared
    if options.precision != "auto":
        shared = replace(shared, precision=options.precision)
    request = parse_request(shared)
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
        raise SaldiagError("--optimizer applies only to your own model: quicksal trains with Adam")
    prepare_environment()
    from saldiag.recipes.saliency_training import Recipe

    recipe = Recipe(
        **options.training_numbers,
        **options.given_options("image_size", "loss"),
        **options.recipe.given_values(),
    )
    session = _open_session(options, recipe)
    session.print_notes(request.notes)
    return run_session(session, lambda: _run_recipe(session, options, request, recipe))


def _train_as_compiled(options: TrainOptions, request: Request) -> int:
    if options.recipe.given_values():
        name = next(iter(options.recipe.given_values())).replace("_", "-")
        raise SaldiagError(
            f"--{name} applies only to quicksal: your own model is trained as compiled;"
            " use --optimizer, --learning-rate or --loss to change that"
        )
    overrides = options.given_options("loss", "optimizer")
    numbers, note = CompiledTraining(**options.training_numbers, **overrides).resolved()
    assert note is None  # no setting depends on the hardware
    request = replace(request, data=replace(request.data, items=0))
    prepare_environment()
    session = _open_session(options, numbers)
    session.print_notes(request.notes)

    def examine_and_train() -> Verdict:
        with stdout_for_diagnosis(options.shared.output_format):
            return run_unless_unusable(
                session, lambda: _run_as_compiled(session, options, request, numbers)
            )

    return run_session(session, examine_and_train)


def _open_session(options: TrainOptions, numbers: TrainingNumbers) -> Session:
    config = {**options.shared.config(), "probes": options.probes, **asdict(numbers)}
    return Session.for_command("train", options.shared, config)


def _run_recipe(
    session: Session, options: TrainOptions, request: Request, recipe: Recipe
) -> Verdict:
    from saldiag.app.commands.held_out import score_held_out
    from saldiag.app.loading.registered_model import build_registered, read_items
    from saldiag.recipes.saliency_training import training_data

    with session.phase("reading data"):
        training, validation, held_out = _split_pairs(request, recipe)
        data = training_data(training, validation, recipe)
    session.try_measuring(SourceFiles, SourceSnapshot().source_files)

    def build_subject() -> Subject:
        model = replace(request.model, loss=recipe.loss, seed=recipe.seed)
        with session.phase("building the model"):
            return build_registered(model, recipe.image_size, recipe.schedule(), session.files)

    trained, outcome, verdict = _examine_and_train(session, options, recipe, data, build_subject)
    score_held_out(session, trained.model, outcome, held_out)
    shown = read_items(validation[:MAX_SHOWN_IMAGES], recipe.image_size, MAX_SHOWN_IMAGES)
    Examination(session, trained, shown).collect_predictions()
    return verdict


def _run_as_compiled(
    session: Session, options: TrainOptions, request: Request, numbers: TrainingNumbers
) -> Verdict:
    """Train the user's model as it was compiled, except for what the options change."""
    from saldiag.app.commands.held_out import score_held_out
    from saldiag.app.loading.epochs import Epochs, open_epochs
    from saldiag.app.loading.mask_model import predicts_masks
    from saldiag.app.loading.user_model import load_with_data

    def read_epochs(spec: InputSpec) -> tuple[Epochs, Any, tuple[str, ...]]:
        epochs = open_epochs(request.data, spec, numbers)
        return epochs, epochs.data.first_batch()[0], epochs.notes

    subject, epochs = load_with_data(request.model, request.data.spec, session, read_epochs)
    session.try_measuring(SourceFiles, SourceSnapshot().source_files)
    _, outcome, verdict = _examine_and_train(
        session, options, numbers, epochs.data, lambda: subject
    )
    if epochs.validation and predicts_masks(subject.model):
        held_out = _validation_pairs(request.data, epochs.validation)
        score_held_out(session, subject.model, outcome, held_out)
    if epochs.shown.pixel_range:
        Examination(session, subject, epochs.shown).collect_predictions()
    return verdict


def _examine_and_train(
    session: Session,
    options: TrainOptions,
    numbers: TrainingNumbers,
    data: TrainingData,
    subject: Callable[[], Subject],
) -> tuple[Subject, TrainingOutcome, Verdict]:
    """Examine the model on the first batch, then train it.

    Args:
        session: takes the measurements.
        options: options of the command.
        numbers: settings of the training.
        data: training and validation batches.
        subject: builds or returns the model; called once the first batch is read.

    Returns:
        The trained model, the outcome of the training, and the verdict.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the training; its measurements are in the session.
        ModelUnusable: the user's model cannot be called, and findings explain why.
        SaldiagError: the model cannot be called or trained.
    """
    from saldiag.app.session.judging import judge
    from saldiag.experiments.training.loop import run_training
    from saldiag.experiments.validation.callback import ValidationWatch
    from saldiag.rules.verdicts.training import verdict_of_training

    examinations: list[Examination] = []

    def build_model() -> Any:
        batch = data.first_batch()
        built = subject()
        session.print_notes(built.notes)
        examination = Examination(
            session, built, Batches((batch,)), _equivalent_fit_plan(numbers, data.steps)
        )
        with errors_as_findings(examination, "call") if built.is_user_model else nullcontext():
            examination.survey()
        examination.examine_data()
        examination.measure_training_plan()
        examinations.append(examination)
        return examination.model

    def print_and_save(line: str) -> None:
        session.print_note(line)
        session.write_info("running")

    def validation_subject() -> tuple[ModeErrors, Sequence[Batch]]:
        return examinations[0].mode_errors, tuple(itertools.islice(data.train(0), PREVIEW_BATCHES))

    def print_cause(check: ValidationCheck) -> None:
        """Print at once why the validation error does not follow, with the epoch of the check."""
        found = judge(session.measured.with_(check), session.settings).findings
        causes = [finding for finding in found if finding.rule in VALIDATION_RULES]
        for finding in causes[:1]:
            print_and_save(f"epoch {check.checked[-1]}: {finding.rule} {finding.message}")

    validation = ValidationWatch(validation_subject, print_cause)
    outcome = run_training(
        build_model, data, numbers, session.run,
        probes=options.probes, resume=options.shared.resume, console=session.console,
        notify=print_and_save,
        validation=validation,
    )  # fmt: skip
    session.measured = session.run.read_measurements().with_(*session.measured)
    session.add(*validation.measurements(), outcome.history)
    session.mark_missing(ValidationCheck, validation.reason)
    session.print_note(outcome.message)
    if outcome.stopped == "interrupted":
        raise KeyboardInterrupt
    examinations[0].measure_trainability(session.measured.get(GradientHistory))
    stuck = outcome.stopped == "non-finite" or examinations[0].no_gradient()
    verdict = "does_not_learn" if stuck else verdict_of_training(session.measured)[0]
    return examinations[0].subject, outcome, verdict


def _split_pairs(
    request: Request, recipe: Recipe
) -> tuple[Sequence[Item], Sequence[Item], HeldOut]:
    """Pairs to train on, pairs to validate with, and the test split, which is not trained on."""
    from saldiag.app.commands.held_out import HeldOut
    from saldiag.image_masks.msra10k import take_subset

    dataset, share = request.data.pairs, request.data.subset_fraction
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
    """The pairs with these indexes, which the user's model was validated with."""
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


def _equivalent_fit_plan(numbers: TrainingNumbers, steps: int) -> FitPlan:
    """The arguments of ``fit`` for the same training; the loop stops early as Keras does."""
    import keras

    return FitPlan(
        epochs=numbers.epochs,
        steps_per_epoch=steps,
        batch_size=numbers.batch_size,
        callbacks=(keras.callbacks.EarlyStopping("val_loss", patience=numbers.patience),),
    )
