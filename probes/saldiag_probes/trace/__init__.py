"""Mechanism of one traced pass: recording layer calls, the dataflow between them, gradients."""
