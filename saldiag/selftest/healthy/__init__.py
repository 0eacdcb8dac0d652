"""Programs without a fault."""
