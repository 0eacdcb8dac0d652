"""What judging yields: rules, findings, edits, hypotheses and the diagnosis, as plain data."""
