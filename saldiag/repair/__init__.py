"""Turning an edit (plain data) into a diff of the user's file; uses only the standard library.

Anything uncertain raises ``Uncertain`` with the reason; the user then gets advice without a diff.
"""
