"""Helpers that several tests share, and tools that write files which tests compare."""
