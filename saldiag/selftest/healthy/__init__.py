"""Programs that nothing is wrong with."""
