"""Loads the model and the data of a request, in the order that the model needs."""

from __future__ import annotations

from saldiag.app.loading.batches import read_data
from saldiag.app.loading.registered_model import load_registered
from saldiag.app.loading.subject import OverfitData, Subject
from saldiag.app.loading.user_model import load_with_data
from saldiag.app.session.collector import Collector
from saldiag.app.session.request import Request
from saldiag.subject.models.input_spec import InputSpec


def load_subject(request: Request, collector: Collector) -> tuple[Subject, OverfitData]:
    """Load the model of the request, and the items to memorise.

    A registered model is built for the size of the data. The user's model is loaded first, because
    its input shape decides how the data are read.

    Raises:
        SaldiagError: model or data cannot be loaded, or they do not fit each other.
    """
    if request.model.spec.registered is not None:
        return load_registered(request.model, request.data, collector)

    def read_requested(spec: InputSpec) -> tuple[OverfitData, object, tuple[str, ...]]:
        data, notes = read_data(request.data, spec)
        return data, data.batches[0][0], notes

    return load_with_data(request.model, request.data.spec, collector, read_requested)
