"""What all stands on: targets, predictions, checks of options, sums over replicas, files."""
