"""Which TensorFlow goes with which Keras, and what is said of all others."""

import pytest

from tfsegloss.core.keras_versions import mismatch


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
