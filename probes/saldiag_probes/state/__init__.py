"""Global state of Keras and TensorFlow: preserving it around a probe, optimizers, seeds."""
