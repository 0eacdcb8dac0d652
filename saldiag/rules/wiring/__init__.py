"""SD1xx: how the network is put together."""
