"""The built-in subject: QUICKSAL, salient-object segmentation on MSRA10K (WACV 2020)."""
