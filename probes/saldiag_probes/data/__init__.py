"""Data: statistics of tensors, the items passed to ``fit``, masks."""
