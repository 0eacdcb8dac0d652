"""SD6xx: rules on the inputs and targets of training and validation."""
