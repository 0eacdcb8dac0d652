"""The built-in model: QUICKSAL, salient-object segmentation on MSRA10K (WACV 2020)."""
