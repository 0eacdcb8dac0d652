"""What is under diagnosis: models, source lines, recorded warnings."""
