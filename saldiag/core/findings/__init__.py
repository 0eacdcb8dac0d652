"""Rules, findings, edits, hypotheses and the diagnosis, as plain data."""
