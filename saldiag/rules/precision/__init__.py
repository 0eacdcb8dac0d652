"""SD5xx: number formats."""
