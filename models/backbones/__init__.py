"""Classification networks that become encoders."""
