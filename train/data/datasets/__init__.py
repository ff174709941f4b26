"""The datasets, a file each, and their registry."""
