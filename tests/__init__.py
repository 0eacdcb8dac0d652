"""Tests of saldiag, in folders that mirror the rooms of the code."""
