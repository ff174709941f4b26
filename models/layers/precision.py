"""The dtype of what must not be rounded."""

import keras


def full_precision() -> str:
    """Return the dtype of pixels and logits under every policy.

    float32, or float64 where Keras runs in float64: half precision would round them.

    Example:
        >>> full_precision()
        'float32'
    """
    return "float64" if keras.config.dtype_policy().variable_dtype == "float64" else "float32"
