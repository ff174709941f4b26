"""Tables and pictures that commands print and draw."""
