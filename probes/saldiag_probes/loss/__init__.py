"""Probes of the loss: what was compiled, its value recomputed, its sensitivity, baselines."""
