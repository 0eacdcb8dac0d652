"""SD8xx: what the overfit test and the training curves show."""
