"""Training on several replicas: the loss, the gradients, the items and the state of each."""
