"""Loading the user's model: the spec on the command line, code, Keras files, SavedModels."""
