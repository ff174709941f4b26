"""What models, train and savedmodels stand on: Keras 3."""

import importlib.metadata
import os

RULE = (
    "`models`, `train` and `savedmodels` need Keras 3; under Keras 2 the library `tfsegloss` runs "
    "alone. Found:"
)


def require_keras_3() -> None:
    """Refuse Keras 2, before something fails for want of its successor.

    Raises:
        ImportError: `tf.keras` is Keras 2 here.
    """
    if os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True"):  # as TensorFlow reads it
        raise ImportError(f"{RULE} TF_USE_LEGACY_KERAS is set. Do: unset TF_USE_LEGACY_KERAS")
    try:
        version = importlib.metadata.version("keras")
    except importlib.metadata.PackageNotFoundError:  # keras-nightly; or none, as imports will say
        return
    if int(version.split(".")[0]) < 3:
        remedy = 'pip install "tensorflow>=2.18" "keras>=3.15"'
        raise ImportError(f"{RULE} Keras {version}. Do: {remedy}")
