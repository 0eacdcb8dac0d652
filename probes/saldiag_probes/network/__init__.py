"""Probes of the network's structure: wiring, weights and what is trainable."""
