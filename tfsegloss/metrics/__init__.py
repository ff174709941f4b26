"""Confusion matrix, mean IoU, and weights of classes from counts of labels."""
