"""JSON Schemas of what a run writes, and the module that generates them."""
