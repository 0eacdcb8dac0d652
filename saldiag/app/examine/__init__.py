"""Examining a loaded subject: probes, the overfit test and experiments."""
