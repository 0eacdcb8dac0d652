"""Probes touch TensorFlow and return plain numbers; none has a threshold."""
