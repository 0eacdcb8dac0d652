"""Losses, metrics, learning-rate schedule and training recipe that any model can use."""
