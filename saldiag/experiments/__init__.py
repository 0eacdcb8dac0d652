"""The overfit test and other runs that train on purpose."""
