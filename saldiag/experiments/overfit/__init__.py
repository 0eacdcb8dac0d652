"""The overfit test: errors by mode, running statistics, learning-rate range."""
