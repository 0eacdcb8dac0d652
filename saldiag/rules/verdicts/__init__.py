"""Verdicts about curves: the overfit test, a training, its validation, and hypotheses."""
