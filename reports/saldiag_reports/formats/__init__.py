"""The output formats: files of a run, formats printed on stdout, and the notebook's snippet."""
