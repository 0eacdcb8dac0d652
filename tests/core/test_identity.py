"""Values by object: no hash, no equality, and no object kept alive."""

from __future__ import annotations

import gc

import pytest

from saldiag.core.identity import WeakIdentityMap


class Equal:  # noqa: PLW1641 - that it has no hash is what is tested
    """Objects that are all equal, and so cannot be hashed."""

    def __eq__(self, other):
        raise AssertionError("compared")


def test_equal_objects_have_values_of_their_own():
    one, other, known = Equal(), Equal(), WeakIdentityMap()
    known[one], known[other] = 1, None
    assert (known[one], known[other]) == (1, None)
    assert one in known
    assert Equal() not in known
    assert known.get(Equal()) is None
    assert [value for _, value in known.items()] == [1, None]
    assert known.pop(one) == 1
    assert known.pop(one) is None
    assert list(known.values()) == [None]
    with pytest.raises(KeyError):
        known[one]


def test_an_entry_ends_with_its_object():
    known, one = WeakIdentityMap(), Equal()
    known[one] = "value"
    del one
    gc.collect()
    assert known.items() == []
    later = Equal()  # may have the address of the first
    assert later not in known
    known[later] = "another"
    assert known[later] == "another"
