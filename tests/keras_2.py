"""The tests under Keras 2: what cannot exist there, and calls that have another name."""

import re

from tfsegloss.core.keras_versions import IS_KERAS_2, keras

# What Keras 2 has not, by a pattern of the tests' ids: each is skipped under Keras 2 for its reason.
MISSING = {}


def why_missing(node_id):
    """Return why a test cannot run under Keras 2; None if it can."""
    return next((why for name, why in MISSING.items() if re.search(name, node_id)), None)


def set_floatx(name):
    """Set the type of floats that Keras makes."""
    (keras.backend if IS_KERAS_2 else keras.config).set_floatx(name)


def set_dtype_policy(name):
    """Set the types in which layers compute."""
    if IS_KERAS_2:
        keras.mixed_precision.set_global_policy(name)
    else:
        keras.config.set_dtype_policy(name)
