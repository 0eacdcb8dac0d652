"""The pytest plugin: fixture, marker, and no cost where it is not used."""

from __future__ import annotations

import sys

import pytest

from tests.support.command_line import run_python

pytest_plugins = ("pytester",)

RUN = ("-p", "saldiag.testing.plugin", "-p", "no:cacheprovider", "--strict-markers")


@pytest.fixture
def project(pytester, monkeypatch):
    """A project of its own; the plugin is loaded by name, wherever saldiag is installed."""
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return pytester


def test_markers_set_the_defaults_of_the_fixture(project):
    project.makepyfile(
        """
        import pytest

        def test_plain(saldiag):
            assert (saldiag.ignore, saldiag.severity) == ((), None)

        @pytest.mark.saldiag(ignore=["SD101"], severity="error")
        class TestMarked:
            def test_class(self, saldiag):
                assert (saldiag.ignore, saldiag.severity) == (("SD101",), "error")

            @pytest.mark.saldiag(ignore="SD2", severity="info")
            def test_nearest(self, saldiag):
                assert saldiag.ignore == ("SD2", "SD101")
                assert saldiag.severity == "info"

            def test_handed_on(self, saldiag, monkeypatch):
                import saldiag.testing.assertions as assertions
                seen = {}
                name = "assert_no_findings"
                monkeypatch.setattr(assertions, name, lambda *a, **more: seen.update(more))
                saldiag.assert_no_findings(1, 2, ignore="SD3")
                assert seen == {"ignore": ("SD101", "SD3"), "severity": "error"}
                saldiag.assert_no_findings(1, 2, severity="info")
                assert seen["severity"] == "info"
        """
    )
    result = project.runpytest_subprocess(*RUN)
    result.assert_outcomes(passed=4)


@pytest.mark.parametrize("arguments", ["'SD101'", "rules=['SD101']"])
def test_a_marker_that_says_something_else_is_an_error(project, arguments):
    project.makepyfile(
        f"""
        import pytest

        @pytest.mark.saldiag({arguments})
        def test_it(saldiag):
            pass
        """
    )
    result = project.runpytest_subprocess(*RUN)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*@pytest.mark.saldiag accepts ignore= and severity=*"])


def test_a_project_that_does_not_use_it_imports_nothing_heavy(project):
    project.makepyfile(
        """
        import sys

        def test_it():
            heavy = {"tensorflow", "keras", "numpy", "rich", "jinja2", "saldiag_reports"}
            assert not heavy & set(sys.modules)
        """
    )
    result = project.runpytest_subprocess(*RUN, "-W", "error")
    result.assert_outcomes(passed=1)


def test_the_functions_import_nothing_heavy_until_called():
    code = "import saldiag.testing, sys; sys.exit(bool({'tensorflow', 'numpy'} & set(sys.modules)))"
    assert run_python(code).returncode == 0


def test_the_entry_point_names_the_plugin():
    import tomllib
    from pathlib import Path

    project = Path(__file__).parents[2] / "pyproject.toml"
    points = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["entry-points"]
    assert points["pytest11"] == {"saldiag": "saldiag.testing.plugin"}


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_failure_is_in_the_report_of_pytest(project):
    project.makepyfile(
        """
        import keras
        import numpy as np
        import pytest

        def model():
            layers = [keras.Input((3,)), keras.layers.Dense(1, activation="softmax", name="head")]
            made = keras.Sequential(layers)
            made.compile("adam", "mse")
            return made

        BATCH = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")

        def test_flow(saldiag):
            saldiag.assert_gradients_flow(model(), BATCH)

        @pytest.mark.saldiag(ignore=["SD"])
        def test_quiet(saldiag):
            saldiag.assert_trainable(model(), ["head"])
            assert saldiag.diagnose(model(), BATCH, overfit=False).findings == ()
        """
    )
    result = project.runpytest_subprocess(*RUN)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *SD101 single-channel-softmax*", "E *Fix: *"])
