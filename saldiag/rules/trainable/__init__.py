"""SD4xx: which variables are trained, and which are only declared trainable."""
