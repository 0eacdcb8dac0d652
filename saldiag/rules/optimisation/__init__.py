"""SD7xx: learning rate, normalisation by batches, and where the loss starts."""
