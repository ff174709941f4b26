"""Checkpoints of TensorFlow's model zoo."""
