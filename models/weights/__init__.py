"""Published files of weights, for the networks of this package."""
