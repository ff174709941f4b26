"""Which TensorFlow goes with which Keras, and what is said of all others."""

import importlib.util
import subprocess
import sys

import pytest

from tfsegloss.core.keras_versions import USES_TF_KERAS, mismatch


@pytest.mark.parametrize(
    ("tensorflow", "keras", "uses_tf_keras"),
    [
        ("2.15.1", "2.15.0", False),
        ("2.18.0", "3.15.0", False),
        ("2.21.0", "3.15.1", False),
        ("2.15.1", "2.15.1", True),
        ("2.21.0", "2.21.0", True),
        ("2.22.0-rc1", "4.0.0", False),
    ],
)
def test_pairs_that_fit(tensorflow, keras, uses_tf_keras):
    assert mismatch(tensorflow, keras, uses_tf_keras) is None


@pytest.mark.parametrize(
    ("tensorflow", "keras", "uses_tf_keras", "remedy"),
    [
        ("2.16.1", "3.0.5", False, 'pip install --upgrade "tensorflow>=2.18" "keras>=3.15"'),
        ("2.15.1", "3.15.0", False, 'pip install --upgrade "tensorflow>=2.18" "keras>=3.15"'),
        ("2.14.0", "2.14.0", False, 'pip install --upgrade "tensorflow>=2.18" "keras>=3.15"'),
        ("2.21.0", "none", False, 'pip install --upgrade "tensorflow>=2.18" "keras>=3.15"'),
        ("2.21.0", "none", True, 'pip install "tf_keras==2.21.*"'),
        ("2.21.0", "2.18.0", True, 'pip install "tf_keras==2.21.*"'),
    ],
)
def test_pairs_that_do_not_fit(tensorflow, keras, uses_tf_keras, remedy):
    message = mismatch(tensorflow, keras, uses_tf_keras)
    assert "\n" not in message
    assert f"TensorFlow {tensorflow}" in message
    assert f"eras {keras}." in message
    assert message.endswith(f"Do: {remedy}")


@pytest.mark.skipif(
    importlib.util.find_spec("tf_keras") is None, reason="needs tf_keras beside TensorFlow's Keras"
)
def test_a_keras_that_tensorflow_does_not_use_is_refused():
    """The variable is set or unset after the first use of `tf.keras`."""
    code = """
import os
import tensorflow as tf
tf.keras.losses.Loss
if os.environ.pop("TF_USE_LEGACY_KERAS", None) is None:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
import tfsegloss
"""
    outcome = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 1
    line = outcome.stderr.strip().splitlines()[-1]
    expected = "keras" if USES_TF_KERAS else "tf_keras"
    assert line == (
        "ImportError: TF_USE_LEGACY_KERAS was changed after the first use of `tf.keras`, which is "
        f"not {expected} now. Do: set or unset it before TensorFlow is imported"
    )


def test_a_pair_that_does_not_fit_is_one_line_at_import():
    code = """
import importlib.metadata
version = importlib.metadata.version
importlib.metadata.version = lambda name: "3.0.5" if name == "keras" else version(name)
import os
os.environ.pop("TF_USE_LEGACY_KERAS", None)
import tfsegloss
"""
    outcome = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 1
    line = outcome.stderr.strip().splitlines()[-1]
    assert line.startswith("ImportError: tfsegloss needs TensorFlow >= 2.18 with Keras >= 3.15")
    assert "Found: TensorFlow 2." in line
    assert "Keras 3.0.5. Do: pip install" in line
