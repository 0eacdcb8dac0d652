"""The search for a change that restores learning: plan, short trainings, workers, journal."""
