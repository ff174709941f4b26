"""The training kit: datasets, input, distribution, the loop, recipes, `python -m train`."""

import models  # noqa: F401, it refuses Keras 2 before something fails for want of its successor
