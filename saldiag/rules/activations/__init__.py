"""SD3xx: rules on layer outputs that are dead, constant, not finite, saturated or fading."""
