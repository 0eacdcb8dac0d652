"""SD8xx: what the overfit test came to."""
