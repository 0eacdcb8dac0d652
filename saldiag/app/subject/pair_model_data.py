"""Model and data together: which of them is had first, and whether they fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import keras

from saldiag.app.session.collector import Collector
from saldiag.app.session.options import Options
from saldiag.app.subject.batches import read_data
from saldiag.app.subject.load import Data, Subject, load_data, load_subject, parse_model, set_policy
from saldiag.app.subject.user_model import load_own, take_weights
from saldiag.core.errors import DataError
from saldiag.core.printable import printable
from saldiag.subject.models.input_spec import Takes, check_fit
from saldiag.subject.models.spec import DataName, parse_data

Read = TypeVar("Read")

BUILT_IN_TAKES = Takes((("image", (None, None, None, 3)),), output=(None, None, None, 1))
"""What the built-in models take, at any size that is divisible by 32."""


def subject_on(options: Options, session: Collector) -> tuple[Subject, Data]:
    """The model that ``--model`` names, and the items it is to memorise.

    Raises:
        SaldiagError: either cannot be had, or they do not fit.
    """
    if parse_model(options.model).kind == "built-in":
        return built_in_on(options, session)
    return own_on(options, session)


def built_in_on(options: Options, session: Collector) -> tuple[Subject, Data]:
    """A built-in model, built for the size of the data.

    Raises:
        SaldiagError: the data cannot be read, or are no pictures with masks; see ``load_subject``.
    """
    name = parse_data(options.data)
    with session.phase("reading data"):
        data, size = _pairs(options) if name.kind == "pairs" else _as_pairs(options, name)
    with session.phase("building the model"):
        return load_subject(options, size), data


def _pairs(options: Options) -> tuple[Data, int]:
    data = load_data(options)
    assert data.image_size is not None
    return data, data.image_size


def _as_pairs(options: Options, name: DataName) -> tuple[Data, int]:
    """Data from elsewhere for a built-in model, and their side in pixels."""
    data, _ = read_data(options, name, BUILT_IN_TAKES)
    shapes = [tuple(leaf.shape) for leaf in keras.tree.flatten(data.batches[0])]
    side = shapes[0][1] if len(shapes[0]) == 4 else 0
    if [shape[1:] for shape in shapes] != [(side, side, 3), (side, side, 1)] or not side:
        given = " and ".join(str(shape) for shape in shapes)
        raise DataError(
            f"{_told(name)} does not fit --model {options.model}: the data has the shapes"
            f" {given}, the model takes (None, S, S, 3) with masks (None, S, S, 1)"
        )
    return data, side


def own_on(options: Options, session: Collector) -> tuple[Subject, Data]:
    """A model of the user's, and the items that it is to memorise.

    Raises:
        SaldiagError: either cannot be had, or they do not fit.
    """

    def read(name: DataName, takes: Takes) -> tuple[Data, Any, tuple[str, ...]]:
        data, notes = read_data(options, name, takes)
        return data, data.batches[0][0], notes

    return own_with(options, session, read)


def own_with(
    options: Options,
    session: Collector,
    read: Callable[[DataName, Takes], tuple[Read, Any, tuple[str, ...]]],
) -> tuple[Subject, Read]:
    """A model of the user's, and data in the shape that it takes.

    ``read`` gives the data, the inputs of a batch of them, and lines for the user.

    Raises:
        SaldiagError: either cannot be had, or they do not fit.
    """
    found = parse_data(options.data)
    with session.phase("building the model"):
        set_policy(options)
        own = load_own(options, parse_model(options.model))
    with session.phase("reading data"):
        data, x, notes = read(found, own.takes)
        check_fit(own.takes, x, f"--model {printable(options.model)}", _told(found))
        take_weights(options, own.model, x)
    return Subject(own.model, own.sources, notes=notes, name=options.model), data


def _told(name: DataName) -> str:
    return str(name) if name.code else f"--data {name}"
