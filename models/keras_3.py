"""What models, train and savedmodels stand on: Keras 3."""

import importlib.metadata
import os
import sys

RULE = (
    "`models`, `train` and `savedmodels` need Keras 3; under Keras 2 the library `tfsegloss` runs "
    "alone. Found:"
)

COMMANDS = {"models", "train", "savedmodels"}


def require_keras_3() -> None:
    """Refuse Keras 2, before something fails for want of its successor.

    Raises:
        ImportError: `tf.keras` is Keras 2 here.
        SystemExit: The same where a command is started: one line, status 2.
    """
    found = _found_instead()
    if found is None:
        return
    # `sys.argv` begins so until Python has found the module that -m names.
    if sys.argv[:1] == ["-m"] and COMMANDS & {*sys.orig_argv}:
        print(f"{RULE} {found}", file=sys.stderr)
        raise SystemExit(2)
    raise ImportError(f"{RULE} {found}")


def _found_instead() -> str | None:
    """Return what there is in place of Keras 3, and what to do; None if that is there."""
    if os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True"):  # as TensorFlow reads it
        return "TF_USE_LEGACY_KERAS is set. Do: unset TF_USE_LEGACY_KERAS"
    try:
        version = importlib.metadata.version("keras")
    except importlib.metadata.PackageNotFoundError:  # keras-nightly; or none, as imports will say
        return None
    if int(version.split(".")[0]) < 3:
        return f'Keras {version}. Do: pip install "tensorflow>=2.18" "keras>=3.15"'
    return None
