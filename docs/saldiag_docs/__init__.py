"""Makes the reference pages from the code: commands, rules, schemas and measurements."""
