"""SD9xx: rules on the program around the model: warnings, seeds, Keras versions, crashes."""
