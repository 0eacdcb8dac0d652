"""One command: its options and settings, the run that it writes, judging and output."""
