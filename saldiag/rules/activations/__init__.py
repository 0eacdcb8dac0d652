"""SD3xx: what the layers put out."""
