"""SD4xx: what trains, and what only says so."""
