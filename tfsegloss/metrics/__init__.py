"""Confusion matrix, mean and boundary IoU, and weights of classes from counts of labels."""
