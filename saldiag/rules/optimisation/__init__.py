"""SD7xx: learning rate, optimizer settings, loss, batch normalisation, callbacks and metrics."""
