"""From specs to a subject: the model, its data and batches, compiled and ready to examine."""
