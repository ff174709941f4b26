"""From the losses of an image's pixels to one number per image."""
