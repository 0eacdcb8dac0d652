"""SD2xx: gradients that are cut, vanish, explode, are not finite or out of proportion."""
