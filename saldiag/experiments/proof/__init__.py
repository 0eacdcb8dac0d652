"""Experiments: the same short training, as the model is and with one thing changed."""
