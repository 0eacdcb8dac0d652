"""Settings files: which one counts, what is a setting, and what an error says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.config import RuleSettings, find_settings, read_settings
from saldiag.core.errors import ConfigError

SETTINGS = """
select = ["SD1", "exploding-gradients"]
ignore = ["SD104"]
[thresholds.SD203]
decades = 6
growth = 1e4
"""


def test_everything_that_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "saldiag.toml"
    path.write_text(SETTINGS)
    assert read_settings(path) == RuleSettings(
        ("SD1", "exploding-gradients"),
        ("SD104",),
        {"SD203": {"decades": 6.0, "growth": 1e4}},
        str(path),
    )


def test_the_nearest_file_counts_and_it_alone(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_settings(inner).file is None
    (tmp_path / "pyproject.toml").write_text('[tool.saldiag]\nignore = ["SD101"]\n')
    assert find_settings(inner).ignore == ("SD101",)
    (inner / "pyproject.toml").write_text("[tool.other]\n")
    assert find_settings(inner).ignore == ("SD101",), "one without our table does not count"
    (tmp_path / "saldiag.toml").write_text('ignore = ["SD102"]\n')
    assert find_settings(inner).ignore == ("SD102",), "our own file before the shared one"
    (inner / "saldiag.toml").write_text("")
    found = find_settings(inner)
    assert (found.ignore, found.select) == ((), None), "nothing of a file above"
    assert found.file == str((inner / "saldiag.toml").resolve())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('selekt = ["SD1"]', r"unknown key 'selekt': did you mean select\?"),
        ('select = "SD1"', r"select must be a list of rules"),
        ("ignore = [101]", r"ignore must be a list of rules"),
        ("thresholds = 3", r"thresholds must be a table by rule"),
        ("[thresholds]\nSD203 = 6", r"thresholds.SD203 must be a table of numbers, not 6"),
        ("[thresholds.SD203]\ndecades = true", r"SD203.decades must be a number, not True"),
        ('[thresholds.SD203]\ndecades = "6"', r"SD203.decades must be a number, not '6'"),
        ("[thresholds.SD203]\ndecades = nan", r"SD203.decades must be a number, not nan"),
        (f"[thresholds.SD203]\ndecades = 1{'0' * 400}", r"SD203.decades must be a number"),
        ("select = [", r"not valid TOML"),
    ],
)
@pytest.mark.parametrize("name", ["saldiag.toml", "pyproject.toml"])
def test_what_is_no_setting_is_named_with_its_file(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    if name == "pyproject.toml":
        text = "[tool.saldiag]\n" + text.replace("[thresholds", "[tool.saldiag.thresholds")
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=rf"{name}: .*{says}"):
        find_settings(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: No such file"):
        read_settings(tmp_path / "gone.toml")
    (tmp_path / "saldiag.toml").write_bytes(b"ignore = ['\xff']")
    with pytest.raises(ConfigError, match=r"saldiag\.toml: not valid TOML"):
        find_settings(tmp_path)


@given(st.text(max_size=60))
def test_any_text_is_settings_or_one_clear_error(tmp_path_factory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "saldiag.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    problem = ""
    try:
        read_settings(path)
    except ConfigError as error:
        problem = str(error)
    assert problem == "" or problem.startswith(f"{path}: ")
