"""SD6xx: what goes in, and what should come out."""
