"""SD1xx: how layers, outputs and loss are connected."""
