"""The collector is paused and goes on as before."""

from __future__ import annotations

import gc

import pytest

from saldiag.core.garbage import collection_paused
from tests.support.command_line import run_python


@pytest.mark.parametrize("lasting", [False, True])
def test_it_goes_on_even_after_an_error(lasting: bool) -> None:
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    with collection_paused(lasting=lasting):
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), collection_paused(lasting=lasting):
        _ = 1 / 0
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_it_stays_off_where_the_program_turned_it_off() -> None:
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_lasts_is_old_at_once() -> None:
    """In a process of its own: the tests freeze what they have imported."""
    code = (
        "import gc\nfrom saldiag.core.garbage import collection_paused\n"
        "with collection_paused(lasting=True):\n    made = [[] for _ in range(10)]\n"
        "young = {id(one) for one in gc.get_objects(generation=0)}\n"
        "print(len(young & {id(one) for one in made}), gc.get_freeze_count())\n"
    )
    assert run_python(code).stdout == "0 0\n"
