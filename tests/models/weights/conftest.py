import numpy as np
import pytest


@pytest.fixture
def written(tmp_path):
    """Write the bytes of a file of weights, and say where."""

    def write(content: bytes):
        path = tmp_path / "file.weights"
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def assert_refused():
    """Demand one line that names all parts, and that no weight has changed."""

    def check(load, model, path, *parts, **options):
        before = [np.array(variable) for variable in model.weights]
        with pytest.raises(ValueError, match=r"^`\w+` must .*Received: ") as error:
            load(model, path, **options)
        assert "\n" not in str(error.value)
        for part in parts:
            assert part in str(error.value)
        for variable, value in zip(model.weights, before, strict=True):
            np.testing.assert_array_equal(variable, value)

    return check
