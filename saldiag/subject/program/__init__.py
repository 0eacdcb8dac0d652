"""Running the user's script or notebook: hooks into Keras, crashes, warnings, its sources."""
