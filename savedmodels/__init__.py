"""Export, evaluate, predict: SavedModels that need none of this code to run."""

from train.common.keras_3 import require_keras_3

require_keras_3()
