"""Every loss has the numbers of the stored file under every Keras, on hostile inputs too."""

import numpy as np
import pytest

from tests.tfsegloss.keras_2.reference import PATH, cases, numbers
from tests.tfsegloss.variants import VARIANTS

LOOSER = {
    # A window of one pixel has a variance of rounding alone, of which SSIM takes a quotient.
    ("SSIMLoss", "size (1, 1, 1)"): 3e-5,
    # What is left of a saturated softmax depends on how a CPU rounds its exponentials (with AVX-512
    # and without), and the order of Lovász' errors, which are equal but for that, even more.
    ("AffinityFieldLoss", "huge"): 1e-3,
    ("AffinityFieldLoss", "equal to the truth"): 1e-3,
    ("LovaszLoss", "huge"): 0.2,
}


@pytest.fixture(scope="module")
def reference():
    with np.load(PATH) as stored:
        return dict(stored)


@pytest.mark.parametrize("variant", VARIANTS)
def test_value_and_gradient_are_those_of_the_file(variant, reference):
    for name, ids, logits in cases():
        expected = reference[f"{variant}/{name}"]
        actual = numbers(VARIANTS[variant], name, ids, logits)
        looser = LOOSER.get((variant.split("/")[0], name), 1e-5)
        rtol = min(looser, 1e-4)
        np.testing.assert_allclose(actual[0], expected[0], rtol=rtol, atol=1e-6, err_msg=name)
        atol = looser * abs(expected[1:]).max() + 1e-7
        np.testing.assert_allclose(actual[1:], expected[1:], rtol=0, atol=atol, err_msg=name)


def test_the_file_holds_every_case_and_no_more(reference):
    assert reference.keys() == {f"{v}/{name}" for v in VARIANTS for name, *_ in cases()}
