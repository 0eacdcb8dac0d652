"""Watching trainings: of a program, of a ``fit`` with ``Watch``, of a custom loop."""
