"""Structure of the network: wiring, weights, trainability, and operations without gradient."""
