"""Plain data about a training: what `fit` was given, its numbers, and step schedules."""
