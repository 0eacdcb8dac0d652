"""One forward and backward pass: activations, gradient flow, dtypes, overflow."""
