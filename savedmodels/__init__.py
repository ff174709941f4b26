"""Export, evaluate, predict: SavedModels that need none of this code to run."""

import train  # noqa: F401, it refuses Keras 2 before something fails for want of its successor
