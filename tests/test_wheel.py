"""The wheel holds the library alone, and needs nothing of the clone."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ONE_STEP = """
import keras, numpy as np, tfsegloss
inputs = keras.Input((16, 16, 3))
model = keras.Model(inputs, keras.layers.Conv2D(4, 3, padding="same")(inputs))
model.compile(loss=tfsegloss.RMILoss(), metrics=[tfsegloss.MeanIoU(num_classes=4)])
images, ids = np.random.rand(2, 16, 16, 3), np.random.randint(0, 4, [2, 16, 16])
before = model.get_weights()[0]
history = model.fit(images, ids, verbose=0).history
assert np.isfinite(history["loss"]).all() and (model.get_weights()[0] != before).any()
print(tfsegloss.__file__)
"""

# Under either Keras: what `fit`, `save` and `load_model` of `tf.keras` do, and the step after.
NEXT_STEP = """
import numpy as np, tensorflow as tf, tfsegloss
keras = tf.keras
inputs = keras.Input((16, 16, 3))
model = keras.Model(inputs, keras.layers.Conv2D(4, 3, padding="same")(inputs))
model.compile(
    keras.optimizers.SGD(0.1, momentum=0.9),
    loss=tfsegloss.RMILoss(),
    metrics=[tfsegloss.MeanIoU(num_classes=4)],
)
assert isinstance(model.loss, keras.losses.Loss)
images, ids = np.random.rand(2, 16, 16, 3), np.random.randint(0, 4, [2, 16, 16])
model.fit(images, ids, epochs=2, verbose=0)
model.save("model.keras")
again = keras.models.load_model("model.keras")
before = model.get_weights()[0]
for m in (model, again):
    m.fit(images, ids, verbose=0)
for ours, theirs in zip(again.get_weights(), model.get_weights()):
    # Two threads may add in either order.
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
assert (model.get_weights()[0] != before).any()
print(tfsegloss.__file__, "keras", model.__class__.__module__)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_holds_the_library_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    code = {name for name in names if ".dist-info/" not in name}
    assert code == {str(path.relative_to(ROOT)) for path in (ROOT / "tfsegloss").rglob("*.py")}
    assert any(name.endswith("LICENSE") for name in names)


@pytest.fixture(scope="module")
def folder(wheel, tmp_path_factory):
    """Make an environment in a folder, with the wheel and what it depends on alone."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    return folder


def test_one_step_in_an_empty_environment(folder):
    python = folder / "venv" / "bin" / "python"
    outcome = subprocess.run(
        [python, "-c", ONE_STEP], cwd=folder, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    assert str(folder / "venv") in outcome.stdout


def python_for_addons():
    """Return a Python that TensorFlow 2.15 has a wheel for."""
    if sys.version_info < (3, 12):
        return sys.executable
    found = shutil.which("python3.11") or shutil.which("python3.10")
    assert found, "TensorFlow 2.15 needs Python 3.11 or older: install python3.11"
    return found


def take_next_step(python, folder, legacy):
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1" if legacy else "0"}
    outcome = subprocess.run(
        [python, "-c", NEXT_STEP],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert str(folder / "venv") in outcome.stdout
    return outcome.stdout.rsplit("keras ", 1)[1].strip()


def test_the_step_after_loading_in_an_empty_environment(folder):
    python = folder / "venv" / "bin" / "python"
    assert take_next_step(python, folder, legacy=False).startswith("keras.")


def test_the_step_after_loading_with_tf_keras_beside_it(wheel, folder):
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[legacy]"], check=True)
    assert take_next_step(python, folder, legacy=True).startswith("tf_keras.")


def test_the_step_after_loading_in_an_empty_environment_of_tensorflow_2_15(wheel, tmp_path):
    subprocess.run([python_for_addons(), "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[addons]"], check=True)
    assert take_next_step(python, tmp_path, legacy=False).startswith("keras.")
    versions = "import tensorflow as t, tensorflow_addons as a; print(t.__version__, a.__version__)"
    found = subprocess.run([python, "-c", versions], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("2.15.")
    assert found.stdout.strip().endswith("0.23.0")
