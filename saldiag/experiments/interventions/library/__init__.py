"""One intervention a module; every class here is found by its place."""
