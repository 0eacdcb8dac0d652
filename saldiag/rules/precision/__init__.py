"""SD5xx: rules on number formats: half precision, loss scaling, float64, integer overflow."""
