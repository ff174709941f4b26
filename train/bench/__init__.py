"""How fast samples are read: `python -m train bench-input`."""
