"""Pretrained ImageNet weights of the encoder: download, files, origin of each variable."""
