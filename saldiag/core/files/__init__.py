"""Files of a run: strict JSON, the run directory, its folders, hashes of the user's sources."""
