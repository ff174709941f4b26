"""From a configuration to a run's folder, network and data, to training, and back."""
