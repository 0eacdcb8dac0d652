"""Commands that need no model: of recorded runs and rules, and of data sets."""
