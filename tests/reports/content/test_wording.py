"""Words and numbers in reports: nothing unseen gets through, nothing is rounded into a lie."""

from __future__ import annotations

import math
import shlex
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.findings.diagnosis import Diagnosis, SubjectSummary
from saldiag.core.wording import (
    NO_VALUE,
    grouped_number,
    listed_names,
    plain,
    plain_lines,
    share_text,
    shorten_end,
    shorten_middle,
    size_text,
)
from saldiag_reports.content.wording import shell_command, value_text, verdict_headline

ANYTHING = st.text(st.characters())


@given(ANYTHING)
def test_plain_text_has_nothing_unseen_and_can_be_encoded(text):
    shown = plain(text)
    shown.encode("utf-8")
    joiners = {"\u200c", "\u200d"}
    assert all(unicodedata.category(c)[0] != "C" for c in shown if c not in joiners)
    assert plain(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv\n1", r"conv\n1"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("abc\u202edcba", r"abc\u202edcba"),
        ("\ud83d", r"\ud83d"),
        ("größe 層 👩\u200d💻", "größe 層 👩\u200d💻"),
        ("\u200b", r"\u200b"),
    ],
)
def test_plain_spells_out_what_cannot_be_seen(text, shown):
    assert plain(text) == shown


def test_lines_keep_line_ends_and_tabs_only():
    assert plain_lines("a\r\n\tb\rc\x07") == "a\n\tb\\rc\\x07"


@given(ANYTHING, st.integers(4, 80))
def test_shortened_text_fits(text, limit):
    short = shorten_middle(text, limit)
    assert len(short) <= limit
    assert short == plain(text) or "…" in short


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, NO_VALUE),
        (math.nan, NO_VALUE),
        (np.float32("nan"), NO_VALUE),
        (0.0, "0"),
        (-0.0, "0"),
        (0.15612, "0.156"),
        (3812345, "3,812,345"),
        (1234.56, "1,234.6"),
        (1.234e-7, "1.23e-07"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (1e300, "1e+300"),
    ],
)
def test_numbers(value, text):
    assert grouped_number(value) == text


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_share_says_all_or_none_only_where_it_is(value):
    assert share_text(value) not in ("0%", "100%", "0.0%", "100.0%")


def test_share_at_the_ends():
    assert (share_text(0.0), share_text(1.0), share_text(math.nan)) == ("0%", "100%", NO_VALUE)


def test_sizes():
    assert (size_text(512), size_text(2048), size_text(5 * 2**30)) == (
        "512 B",
        "2.0 KiB",
        "5.0 GiB",
    )


@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["C"])), min_size=1))
def test_a_typed_command_reads_back_as_it_was(words):
    assert shlex.split(shell_command(words)) == words


def test_a_command_with_control_characters_is_typed_without_them():
    assert shell_command(["saldiag", "it's\n\x1b"]) == r"saldiag $'it\'s\n\x1b'"


def test_values_of_evidence():
    assert value_text({"a": [1, 0.5, None], "b": "x\x00"}) == r"a: (1, 0.5, –), b: x\x00"  # noqa: RUF001
    assert value_text(math.nan) == "NaN"
    assert value_text(np.bool_(True)) == "yes"
    assert value_text(np.int64(3)) == "3"
    assert value_text([]) == "none"
    assert value_text(list(range(10_000))) == "0, 1, 2, 3, 4, 5 and 9,994 more"
    assert value_text("x " * 1000, 40) == "x x x x x x x x x x x x x x x x x x x…"


@given(ANYTHING, st.integers(4, 80))
def test_cut_text_fits_and_keeps_its_beginning(text, limit):
    short = shorten_end(text, limit)
    assert len(short) <= limit
    assert short == plain(text) or plain(text).startswith(short.removesuffix("…"))


def test_naming_counts_the_rest():
    assert listed_names(["a", "", "c", "d", "e"], 3) == "a, (model), c and 2 more"


def test_headline_takes_braces_in_a_name_as_they_are():
    subject = SubjectSummary("{0}{model}", "mae", 0, 0)
    assert verdict_headline(Diagnosis(subject, "learns", None, ())) == "{0}{model} learns"
