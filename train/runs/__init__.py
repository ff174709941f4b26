"""Runs: their configuration, their folder, what they are built from, and training."""
