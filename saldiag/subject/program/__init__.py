"""Running the user's script or notebook: Keras hooks, errors, warnings and source files."""
