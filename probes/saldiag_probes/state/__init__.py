"""State of Keras and TensorFlow: isolating a probe from it, optimizers, seeds."""
