"""The losses, a file each: the paper's formula, and the class that Keras calls."""
