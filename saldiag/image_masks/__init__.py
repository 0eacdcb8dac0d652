"""Image-and-mask data for any model: MSRA10K, folders, archives, decoding, the input pipeline."""
