"""Layers that Keras does not have, and blocks of layers."""
