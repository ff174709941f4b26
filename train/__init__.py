"""The training kit: datasets, input, distribution, the loop, recipes, `python -m train`."""

from train.common.keras_3 import require_keras_3

require_keras_3()
