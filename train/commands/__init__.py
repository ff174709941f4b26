"""`python -m train COMMAND`: a file each, which parses and calls."""
