"""Builders that many tests use, and the tool that writes `tests/messages.txt`."""
