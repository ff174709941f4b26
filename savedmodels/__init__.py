"""Export, evaluate, predict: SavedModels that need none of this code to run."""
