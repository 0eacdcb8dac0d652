"""Reading the user's data: arrays, tables, TFRecords, folders of images, `fit`'s own batches."""
