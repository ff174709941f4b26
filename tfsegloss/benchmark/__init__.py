"""The losses beside Keras' cross-entropy, on this machine: `python -m tfsegloss.benchmark`."""
