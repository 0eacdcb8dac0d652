"""The version of saldiag; nothing else, so that every room can import it."""

__version__ = "0.1.0"
