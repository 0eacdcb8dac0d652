"""The traced forward pass: recorded layer calls, the dataflow between them, gradients."""
