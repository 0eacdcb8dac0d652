"""SD9xx: what surrounds the model."""
