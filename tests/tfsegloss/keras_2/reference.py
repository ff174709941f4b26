"""Values and gradients of every loss, the same under every Keras.

`python -m tests.tfsegloss.keras_2.reference` writes the file that the tests compare with; run it
after a change of a formula or of an example, with Keras 3.
"""

from pathlib import Path

import numpy as np

from tests.tfsegloss.examples import example, hostile_examples
from tests.tfsegloss.steps import value_and_gradient
from tests.tfsegloss.variants import VARIANTS

PATH = Path(__file__).parents[2] / "golden" / "values.npz"


def cases():
    """(name, ids, logits) of what each loss is given."""
    yield "ordinary", *example()
    yield from hostile_examples()


def numbers(make, name, ids, logits):
    """Return value, and gradient: the whole of an ordinary example, of others what sums it up.

    Sums with two random signs of each element and the norm tell a wrong element from a right one,
    and keep the file small.
    """
    value, gradient = value_and_gradient(make(), ids, np.asarray(logits, np.float32))
    gradient = gradient.astype(np.float64)
    if name == "ordinary":
        return np.append(value, gradient.ravel())
    signs = np.random.default_rng(0).choice([-1.0, 1.0], [2, gradient.size])
    return np.array([value, np.linalg.norm(gradient), *(signs @ gradient.ravel())])


def write():
    """Write the file."""
    found = {
        f"{variant}/{name}": numbers(make, name, ids, logits).astype(np.float32)
        for variant, make in VARIANTS.items()
        for name, ids, logits in cases()
    }
    np.savez_compressed(PATH, **found)


if __name__ == "__main__":
    write()
