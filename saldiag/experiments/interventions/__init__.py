"""Interventions: one change of a model, its data or its training that could restore learning."""
