"""Formats printed on stdout: each file is one, named like the value of ``--format``."""
