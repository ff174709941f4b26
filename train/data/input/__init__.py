"""From samples to batches: augmentation, sampling, the pipeline."""
