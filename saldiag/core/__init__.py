"""Plain data that all other packages use. Imports only the standard library and numpy."""
