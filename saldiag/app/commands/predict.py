"""``saldiag predict``: one mask a picture from a checkpoint, with scores where there's a truth."""

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

from saldiag.app.session.command_options import PredictOptions
from saldiag.app.session.options import has_gpu, prepare_environment
from saldiag.app.subject.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from saldiag.core.errors import DataError, RunError
from saldiag.core.measurement import DatasetScores, MaskScores
from saldiag.core.wording import counted, printable
from saldiag.image_masks.photographs import Photograph, Photographs, list_photographs

if TYPE_CHECKING:
    from saldiag.app.subject.mask_model import MaskModel
    from saldiag.recipes.mask_scores import MaskScorer

SCHEMA_VERSION = 1
RECORD = "predictions.json"
"""What was predicted, with the scores of each picture; beside the masks."""
BATCH_SIZES = (8, 32)
"""Pictures at a time on a CPU, on a GPU."""
MAX_ERRORS = 20
"""Unreadable pictures named on the screen; the record has all."""


@dataclass(frozen=True)
class PredictedMask:
    """What came of one picture: its mask's file and size, its scores, or why there are none."""

    picture: str
    file: str | None = None
    size: tuple[int, int] | None = None
    scores: MaskScores | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The picture for JSON."""
        return {
            "picture": self.picture,
            "file": self.file,
            "size": self.size,
            "scores": self.scores,
            "error": self.error,
        }


def predict(options: PredictOptions) -> int:
    """Predict; returns the exit code: 0, or 2 where a picture had no mask or truth to read.

    Pictures that can't be read are named on stderr, and the others are done.

    Raises:
        SaldiagError: no such checkpoint or pictures, a folder that may not be written to, or a
            model that returns no masks.
    """
    found = find_checkpoint(options.checkpoint)
    photographs = list_photographs(options.pictures)
    _check_out(options.out, photographs)
    prepare_environment()
    from saldiag.app.session.session import own_stdout
    from saldiag.app.subject.mask_model import mask_model

    console = Console(stderr=True)
    with own_stdout(options.output_format), console.status("loading the model …"):
        loaded = load_checkpoint(found, options.custom_objects, unsafe=options.unsafe_load)
        model = mask_model(
            loaded,
            image_size=options.image_size,
            pixels=found.pixels if options.pixels == "auto" else options.pixels,
            where=str(found),
            trained_at=found.image_size,
        )
    for line in (*photographs.ignored, *(() if model.as_trained else model.frame.notes)):
        _say(console, line)
    prediction = _Prediction(options, found, photographs, model)
    with own_stdout(options.output_format):
        status = prediction.run(console)
    return prediction.end(console, status)


def _check_out(out: Path, photographs: Photographs) -> None:
    """Refuse a folder where a mask would lie among the pictures, or replace a file.

    Raises:
        RunError: it would; the message says which.
    """
    where = f"--out {printable(out)}"
    if out.exists() and not out.is_dir():
        raise RunError(f"{where}: is a file: choose a folder")
    folder = photographs.folder
    if folder is not None and out.resolve().is_relative_to(folder.resolve()):
        raise RunError(f"{where}: lies in the folder of the pictures: choose a folder outside it")
    if (out / RECORD).exists():
        raise RunError(f"{where}: holds predictions already ({RECORD}): choose another folder")
    for one in photographs.pictures:
        if (out / _file(one)).exists():
            raise RunError(f"{where}: holds {printable(_file(one))} already: choose another folder")


def _file(photograph: Photograph) -> str:
    return f"{photograph.stem}.png"


@dataclass
class _Prediction:
    """One prediction, from its first picture to its last."""

    options: PredictOptions
    checkpoint: Checkpoint
    photographs: Photographs
    model: MaskModel
    masks: list[PredictedMask] = field(default_factory=list)

    def __post_init__(self) -> None:
        from saldiag.recipes.mask_scores import MaskScorer

        self.scorer: MaskScorer = MaskScorer(stretched=self.options.stretched)

    def run(self, console: Console) -> str:
        """Predict all pictures; ``finished`` or ``interrupted``. What was written stays."""
        size = self.options.batch_size or BATCH_SIZES[has_gpu()]
        pictures = self.photographs.pictures
        try:
            with _progress(console, len(pictures)) as advance:
                for start in range(0, len(pictures), size):
                    self._batch(pictures[start : start + size])
                    advance(len(self.masks))
        except KeyboardInterrupt:
            return "interrupted"
        return "finished"

    def _batch(self, pictures: Sequence[Photograph]) -> None:
        inputs, readable = [], []
        for photograph in pictures:
            try:
                inputs.append(self.model.read(photograph.image))
                readable.append(photograph)
            except DataError as error:
                self.masks.append(PredictedMask(photograph.stem, error=str(error)))
        if not inputs:
            return
        masks = self.model.masks(inputs)
        for photograph, mask, one in zip(readable, masks, inputs, strict=True):
            self._write(photograph, mask, one.size)

    def _write(self, photograph: Photograph, mask: Any, size: tuple[int, int]) -> None:
        from saldiag.recipes.mask_scores import resize_mask

        levels = resize_mask(mask, size)
        _write_png(self.options.out / _file(photograph), levels)
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
            PredictedMask(photograph.stem, _file(photograph), size, scores, error)
        )  # fmt: skip

    def end(self, console: Console, status: str) -> int:
        """Write the record, print the outcome, and return the exit code."""
        from saldiag.core.files.jsonio import dumps
        from saldiag_reports.files import write_bytes

        self.masks.sort(key=lambda one: one.picture)
        failed = [one for one in self.masks if one.error is not None]
        written = sum(one.file is not None for one in self.masks)
        document = dumps(self._document(status)) + "\n"
        write_bytes(self.options.out / RECORD, document.encode())
        if status == "interrupted":
            total = len(self.photographs.pictures)
            _say(console, f"interrupted: {written} of {total} masks are in {self.options.out}")
            return 2
        if self.options.output_format == "json":
            sys.stdout.write(document)
        else:
            self._print(written)
        if not failed:
            return 0
        for one in failed[:MAX_ERRORS] if len(failed) > 1 else ():
            _say(console, one.error or "")
        if len(failed) == 1:
            raise DataError(failed[0].error)
        raise DataError(
            f"{len(failed)} of {len(self.masks)} pictures could not be read whole:"
            f" {printable(self.options.out / RECORD)} names all of them"
        )

    def _print(self, written: int) -> None:
        console = Console(highlight=False)
        over = self.scorer.over(self.photographs.name)
        if over is not None:
            from saldiag_reports.formats.printed.text import print_mask_scores

            print_mask_scores([over], self.options.stretched)
        line = f"{counted(written, 'mask')} in {printable(self.options.out)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _document(self, status: str) -> dict[str, Any]:
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
    """Write an 8-bit grey PNG as a whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    from PIL import Image

    from saldiag_reports.files import write_bytes

    content = io.BytesIO()
    Image.fromarray(levels).save(content, format="PNG")
    write_bytes(path, content.getvalue())


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Any]:
    """A bar on a terminal; yields a function of the pictures done."""
    columns = (
        TextColumn("predicting"), BarColumn(24), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)


def _say(console: Console, line: str) -> None:
    console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
