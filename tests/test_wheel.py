"""The wheel holds the library alone, and needs nothing of the clone."""

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


def test_one_step_in_an_empty_environment(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    outcome = subprocess.run(
        [python, "-c", ONE_STEP], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    assert str(tmp_path / "venv") in outcome.stdout
