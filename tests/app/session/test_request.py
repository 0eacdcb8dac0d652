"""The command line is parsed once, and its flags are declared once."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click
import pytest

from saldiag.app.session import request
from saldiag.app.session.command_options import CompareOptions, PredictOptions, TrainOptions
from saldiag.app.session.options import ExperimentOptions, Options
from saldiag.app.session.settings import RuleChoice
from saldiag.cli.main import cli, main

PARSED = ("parse_model_spec", "parse_data_spec", "open_dataset", "choose_sizes")
SMALL = ("--image-size", "32", "--batch-size", "2", "--weights", "random")
MODEL = """
import keras

def model():
    found = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(1, 1)])
    found.compile("sgd", "mse")
    return found
"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each of ``PARSED`` was called."""
    counts: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    for name in PARSED:
        monkeypatch.setattr(request, name, counted(name, getattr(request, name)))
    return counts


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "arguments",
    [
        ("overfit", *SMALL, "--max-steps", "1", "--items", "2"),
        ("gradients", *SMALL, "--steps", "1", "--data", "pairs"),
        ("overfit", "--model", "net.py:model", "--data", "pairs", "--max-steps", "1"),
        ("train", *SMALL, "--data", "pairs", "--epochs", "1"),
        ("train", "--model", "net.py:model", "--data", "pairs", "--epochs", "1"),
    ],
)
def test_specs_and_data_are_parsed_once_a_run(
    arguments: tuple[str, ...], calls: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saldiag.image_masks.sample import write_sample

    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODEL)
    write_sample(tmp_path / "pairs", 40, 0, (32, 40))
    assert main([*arguments, "--out", "run"]) in (0, 1)
    # A training by the recipe has the recipe's sizes.
    recipe = arguments[:2] == ("train", "--image-size")
    assert calls == {name: 1 for name in PARSED if not (recipe and name == "choose_sizes")}


def test_no_other_module_parses_specs() -> None:
    root = Path(request.__file__).parents[2]
    callers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("parse_model_spec", "parse_data_spec")
    }
    assert callers == {"app/session/request.py"}


def test_the_command_line_is_recorded_as_typed(tmp_path: Path) -> None:
    main(["dtypes", "--model", "missing.py:model", "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


COMMANDS = sorted(cli.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str) -> None:
    command = cli.commands[name]
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    for one in commands:
        for option in one.params:
            if isinstance(option, click.Option):
                assert option.help, f"{one.name} {option.opts[0]}"
                assert option.help[0].isupper() or option.help.split()[0] in LOWER_CASE
                assert option.help.endswith((".", ")")), option.help


LOWER_CASE = ("mse,", "adam,", "quicksal:")
"""First words of a help text that are values."""


@pytest.mark.parametrize(
    "owner", [Options, ExperimentOptions, RuleChoice, TrainOptions, PredictOptions, CompareOptions]
)
def test_a_flag_has_the_default_of_its_field(owner: type) -> None:
    flags = {field.name: field for field in fields(owner) if "flag" in field.metadata}
    seen = set()
    for command in cli.commands.values():
        for option in command.params:
            field = flags.get(option.name or "")
            if field is None or not isinstance(option, click.Option):
                continue
            if option.help != field.metadata["flag"].help:
                continue  # another class declares a field of that name
            default = None if field.default in (MISSING, ()) else field.default
            assert option.to_info_dict()["default"] == default
            seen.add(field.name)
    assert seen == set(flags)


def test_the_options_are_recorded_under_their_names() -> None:
    config = Options(experiments=ExperimentOptions(("noise",))).config()
    assert config["experiments"] == {
        "suspect": ("noise",), "budget": 120.0, "jobs": 1, "ray": None,
    }  # fmt: skip
    assert not {"rules", "resume", "command_line"} & set(config)
    json.dumps(config)
