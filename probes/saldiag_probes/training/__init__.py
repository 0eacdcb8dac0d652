"""Probes of a running training: gradient norms, losses and histograms per step."""
