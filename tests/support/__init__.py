"""Builders that many tests use: models, measurements, runs, programs with a fault."""
