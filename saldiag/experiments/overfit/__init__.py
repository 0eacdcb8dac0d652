"""The overfit test and what belongs to it: errors by mode, running statistics, learning-rate range."""
