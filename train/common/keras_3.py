"""What the training kit and SavedModels stand on: Keras 3."""

import importlib.metadata
import os


def require_keras_3(package: str) -> None:
    """Refuse Keras 2, before anything else fails for want of its successor.

    Args:
        package: What was imported, for the message.

    Raises:
        ImportError: `tf.keras` is Keras 2 here.
    """
    if os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True"):
        raise ImportError(
            f"`{package}` needs Keras 3; of this project only the library `tfsegloss` runs under "
            "Keras 2. Found: TF_USE_LEGACY_KERAS is set. Do: unset TF_USE_LEGACY_KERAS"
        )
    found = importlib.metadata.version("keras")
    if int(found.split(".")[0]) < 3:
        raise ImportError(
            f"`{package}` needs Keras 3; of this project only the library `tfsegloss` runs under "
            f'Keras 2. Found: Keras {found}. Do: pip install "tensorflow>=2.18" "keras>=3.15"'
        )
