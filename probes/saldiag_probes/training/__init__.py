"""A running training: gradient norms, losses and histograms of its steps."""
