"""The exceptions that are shown to users."""

from __future__ import annotations


class SaldiagError(Exception):
    """Something the user can correct: bad input, an unreadable file, a wrong name.

    The message is one line that says what is wrong, where, and what to do. The command line
    prints it on stderr without a traceback (``--debug`` shows it) and exits with 2.
    """


class RunError(SaldiagError):
    """A run directory cannot be created, read or written."""


class DataError(SaldiagError):
    """A data set is missing, empty, damaged or not in a layout that saldiag knows."""


class WeightsError(SaldiagError):
    """A weights file is missing, damaged or belongs to another model."""


class ConfigError(SaldiagError):
    """A settings file cannot be read, or contains something that is not a setting."""


class ModelError(SaldiagError):
    """A model cannot be found, built or called."""
