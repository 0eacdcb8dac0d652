"""Finding the rules, running them, ordering their findings and choosing the root cause."""
