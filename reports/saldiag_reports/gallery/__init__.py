"""Sample runs with every kind of content, for tests and screenshots of the reports."""
