"""``saldiag predict``: one mask for each image, with scores if there are ground truths."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from saldiag.app.loading.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from saldiag.app.session.command_options import PredictOptions
from saldiag.app.session.options import has_gpu, prepare_environment
from saldiag.core.errors import DataError, RunError
from saldiag.core.measurement import DatasetScores, MaskScores
from saldiag.core.wording import counted, printable
from saldiag.image_masks.photographs import Photograph, Photographs, list_photographs
from saldiag.progress import stage
from saldiag.subject.program.backend import code_files, tensorflow_instead

if TYPE_CHECKING:
    from saldiag.app.loading.mask_model import MaskModel
    from saldiag.recipes.mask_scores import MaskScorer

SCHEMA_VERSION = 1
"""Version of the format of ``predictions.json``."""
RECORD = "predictions.json"
"""File with the outcome for each image, beside the masks."""
BATCH_SIZES = (8, 32)
"""Images in a batch on a CPU, and on a GPU."""
MAX_PRINTED_ERRORS = 20
"""Largest number of unreadable images named on the screen; the record names all."""


@dataclass(frozen=True)
class PredictedMask:
    """The outcome for one image."""

    picture: str
    """Name of the image, without its suffix."""
    file: str | None = None
    """File name of the mask; None if the image could not be read."""
    size: tuple[int, int] | None = None
    """Height and width of the mask in pixels; None if there is no mask."""
    scores: MaskScores | None = None
    """Scores against the ground truth; None if there is none, or it could not be read."""
    error: str | None = None
    """Why image or ground truth could not be read; None if both could."""

    def to_dict(self) -> dict[str, Any]:
        """The outcome as ``predictions.json`` has it."""
        return {
            "picture": self.picture,
            "file": self.file,
            "size": self.size,
            "scores": self.scores,
            "error": self.error,
        }


def predict(options: PredictOptions) -> int:
    """Predict a mask for each image; returns the exit code: 0, or 2 if interrupted.

    Images that cannot be read are named on stderr, and all others are done.

    Raises:
        DataError: an image or a ground truth could not be read; all others are done.
        SaldiagError: there is no such checkpoint or image, the output folder is refused, or the
            model does not return masks.
    """
    found = find_checkpoint(options.checkpoint)
    photographs = list_photographs(options.pictures)
    _check_output_folder(options.out, photographs)
    code = code_files([found.code] if found.code else [])
    backend = tensorflow_instead("the model", code, keep=options.backend == "keep")
    prepare_environment()
    from saldiag.app.loading.mask_model import as_mask_model
    from saldiag.app.session.session import stdout_for_diagnosis

    console = Console(stderr=True)
    if backend:
        _print_line(console, backend)
    with stdout_for_diagnosis(options.output_format), stage(console, "loading the model"):
        loaded = load_checkpoint(found, options.custom_objects, unsafe=options.unsafe_load)
        model = as_mask_model(
            loaded,
            image_size=options.image_size,
            pixels=found.pixels if options.pixels == "auto" else options.pixels,
            where=str(found),
            trained_at=found.image_size,
        )
    for line in (*photographs.ignored, *(() if model.decodes_as_trained else model.frame.notes)):
        _print_line(console, line)
    prediction = _Prediction(options, found, photographs, model)
    with stdout_for_diagnosis(options.output_format):
        status = prediction.predict_all(console)
    return prediction.report_outcome(console, status)


def _check_output_folder(out: Path, photographs: Photographs) -> None:
    """Refuse a folder in which a mask would be among the images, or replace a file.

    Raises:
        RunError: the folder is refused; the message says why.
    """
    where = f"--out {printable(out)}"
    if out.exists() and not out.is_dir():
        raise RunError(f"{where}: is a file: choose a folder")
    folder = photographs.folder
    if folder is not None and out.resolve().is_relative_to(folder.resolve()):
        raise RunError(f"{where}: is inside the folder of the images: choose a folder outside it")
    if (out / RECORD).exists():
        raise RunError(f"{where}: already contains predictions ({RECORD}): choose another folder")
    for one in photographs.pictures:
        if (out / _mask_file_name(one)).exists():
            raise RunError(
                f"{where}: holds {printable(_mask_file_name(one))} already: choose another folder"
            )


def _mask_file_name(photograph: Photograph) -> str:
    return f"{photograph.stem}.png"


@dataclass
class _Prediction:
    """One run of the command, from the first image to the outcome."""

    options: PredictOptions
    checkpoint: Checkpoint
    photographs: Photographs
    model: MaskModel
    masks: list[PredictedMask] = field(default_factory=list)

    def __post_init__(self) -> None:
        from saldiag.recipes.mask_scores import MaskScorer

        self.scorer: MaskScorer = MaskScorer(stretched=self.options.stretched)

    def predict_all(self, console: Console) -> str:
        """Predict all images; returns ``finished`` or ``interrupted``. Written masks stay."""
        size = self.options.batch_size or BATCH_SIZES[has_gpu()]
        pictures = self.photographs.pictures
        try:
            with _progress_bar(console, len(pictures)) as advance:
                for start in range(0, len(pictures), size):
                    self._predict_batch(pictures[start : start + size])
                    advance(len(self.masks))
        except KeyboardInterrupt:
            return "interrupted"
        return "finished"

    def _predict_batch(self, pictures: Sequence[Photograph]) -> None:
        inputs, readable = [], []
        for photograph in pictures:
            try:
                inputs.append(self.model.prepare_image(photograph.image))
                readable.append(photograph)
            except DataError as error:
                self.masks.append(PredictedMask(photograph.stem, error=str(error)))
        if not inputs:
            return
        masks = self.model.predict_masks(inputs)
        for photograph, mask, one in zip(readable, masks, inputs, strict=True):
            self._write_mask(photograph, mask, one.size)

    def _write_mask(self, photograph: Photograph, mask: Any, size: tuple[int, int]) -> None:
        from saldiag.recipes.mask_scores import resize_mask

        levels = resize_mask(mask, size)
        _write_png(self.options.out / _mask_file_name(photograph), levels)
        scores, error = None, None
        if photograph.truth is not None:
            from saldiag.image_masks.decode import read_mask

            try:
                truth = read_mask(photograph.truth)
                at_truth = levels if truth.shape == size else resize_mask(mask, truth.shape)
                scores = self.scorer.add(at_truth, truth)
            except DataError as damage:
                error = str(damage)
        self.masks.append(
            PredictedMask(photograph.stem, _mask_file_name(photograph), size, scores, error)
        )  # fmt: skip

    def report_outcome(self, console: Console, status: str) -> int:
        """Write the record, and print the outcome; returns the exit code.

        Raises:
            DataError: an image or a ground truth could not be read.
            RunError: the record cannot be written.
        """
        from saldiag.core.files.jsonio import dumps
        from saldiag_reports.files import write_bytes

        self.masks.sort(key=lambda one: one.picture)
        failed = [one for one in self.masks if one.error is not None]
        written = sum(one.file is not None for one in self.masks)
        document = dumps(self._record_document(status)) + "\n"
        write_bytes(self.options.out / RECORD, document.encode())
        if status == "interrupted":
            total = len(self.photographs.pictures)
            _print_line(
                console, f"interrupted: {written} of {total} masks are in {self.options.out}"
            )
            return 2
        if self.options.output_format == "json":
            sys.stdout.write(document)
        else:
            self._print_outcome(written)
        if not failed:
            return 0
        for one in failed[:MAX_PRINTED_ERRORS] if len(failed) > 1 else ():
            _print_line(console, one.error or "")
        if len(failed) == 1:
            raise DataError(failed[0].error)
        raise DataError(
            f"{len(failed)} of {len(self.masks)} images or their ground truths could not be read:"
            f" {printable(self.options.out / RECORD)} lists all of them"
        )

    def _print_outcome(self, written: int) -> None:
        console = Console(highlight=False)
        over = self.scorer.over(self.photographs.name)
        if over is not None:
            from saldiag_reports.formats.printed.text import print_mask_scores

            print_mask_scores([over], self.options.stretched)
        line = f"{counted(written, 'mask')} in {printable(self.options.out)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _record_document(self, status: str) -> dict[str, Any]:
        over: DatasetScores | None = self.scorer.over(self.photographs.name)
        return {
            "schema_version": SCHEMA_VERSION,
            "status": status,
            "checkpoint": printable(self.checkpoint.path or str(self.checkpoint.code)),
            "model": printable(self.model.model.name),
            "data": printable(self.options.pictures),
            "image_size": self.model.frame.size,
            "stretched": self.options.stretched,
            "datasets": [] if over is None else [over],
            "masks": [one.to_dict() for one in self.masks],
            "ignored": self.photographs.ignored,
        }


def _write_png(path: Path, levels: Any) -> None:
    """Write an 8-bit grey PNG atomically.

    Raises:
        RunError: it cannot be written.
    """
    from PIL import Image

    from saldiag_reports.files import write_bytes

    content = io.BytesIO()
    Image.fromarray(levels).save(content, format="PNG")
    write_bytes(path, content.getvalue())


@contextmanager
def _progress_bar(console: Console, total: int) -> Iterator[Any]:
    """A progress bar on a terminal; yields a function of the number of images done."""
    columns = (
        TextColumn("predicting"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    hidden = not console.is_terminal
    with (
        stage(console, "predicting", own_display=True),
        Progress(*columns, console=console, transient=True, disable=hidden) as bar,
    ):
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)


def _print_line(console: Console, line: str) -> None:
    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
