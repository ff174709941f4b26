"""Samples of a split: files or records, decoded, counted, checked."""
