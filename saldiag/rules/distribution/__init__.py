"""SD0xx: training on several replicas: loss, gradients, state and data of each of them."""
