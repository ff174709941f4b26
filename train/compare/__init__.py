"""What losses are worth: runs of several recipes and seeds, scored and compared."""
