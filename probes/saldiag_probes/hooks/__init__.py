"""The observation engine: patches what a training calls, and buffers what it draws."""
