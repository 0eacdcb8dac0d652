"""Readings of measurements that several rules share: graph walks, trends, wording, edits."""
