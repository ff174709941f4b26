"""Weights of the papers' recipes decay by L2 alone, as strongly as the papers say."""

import pytest

from train.commands.recipes import FOLDER, read_rows
from train.runs.configuration import configuration_parser

# λ of each paper, or of the code it builds on where it states none, and the weights it is for.
DECAYS = {
    "lad": (5e-4, "kernels"),
    "lmp": (5e-4, "kernels"),
    "rmi": (1e-4, "kernels"),
    "ssl": (4e-5, "kernels_but_depthwise"),
}


@pytest.mark.parametrize("name", [row.recipe for row in read_rows()])
def test_weights_decay_by_the_papers_l2_alone(name):
    """SGD's own default is a decay too, which would be beside it."""
    values = configuration_parser().parse_args([f"--config={FOLDER}/{name}.yaml"])
    found = values.regularization.l2, values.regularization.weights
    assert found == DECAYS[name.partition("/")[0]]
    assert values.optimizer.init_args.weight_decay is None
