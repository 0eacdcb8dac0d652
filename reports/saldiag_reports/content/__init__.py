"""The content of reports in any format: texts, tables, images, and the order of layers."""
