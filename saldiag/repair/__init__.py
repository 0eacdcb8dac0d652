"""From an edit as plain data to a diff of the user's file: the standard library alone.

Whatever is not certain raises ``Uncertain`` with the reason, and the sentence stands instead.
"""
