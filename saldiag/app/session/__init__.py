"""One invocation: options, settings, the run it writes, collecting, judging and output."""
