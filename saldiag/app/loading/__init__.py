"""From a request to a subject: the compiled model and the batches to examine."""
