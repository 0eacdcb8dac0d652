"""Loss: the compiled loss, its recomputed value, its sensitivity, and baselines."""
