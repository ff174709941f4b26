"""What every loss stands on: targets, predictions, checks of options, sums over replicas."""
