"""The only wiring: load, probe, judge, render. Nothing here imports TensorFlow before it must."""
