"""Probes of the data: statistics of tensors, samples to show, masks."""
