"""SD2xx: what the gradients do on their way."""
