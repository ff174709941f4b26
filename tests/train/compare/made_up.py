"""Results of runs that never were."""

import numpy as np

from train.compare.results import RunResults

CLASSES = ("sky", "road", "car")


def counts(random, right=0.8, images=20):
    """Yield an image's name and its counts `[5, 3]`, with so many of the pixels right.

    The labels of an image are always the same.
    """
    for number in range(images):
        truth = np.random.default_rng(number).integers(50, 200, 3)
        hits = random.binomial(truth, right)
        predicted = hits + random.multinomial((truth - hits).sum(), [0.4, 0.4, 0.2])
        either = truth + predicted - hits
        yield f"{number:02d}.png", np.stack([truth, predicted, hits, hits // 3, either // 2])


def results(name="ce", seed=0, right=0.8, **changes):
    random = np.random.default_rng([seed, round(1000 * right)])
    values = {
        "name": name,
        "seed": seed,
        "step": 600,
        "seconds_per_step": 0.5,
        "settings": {"loss.class_path": name, "input.crop": [48, 64], "model.weights": None},
        "origin": {"time": "2020-01-01T00:00:00+00:00", "revisions": ["1a2b"], "versions": {}},
        "training_images": {"count": 300, "sha256": "5e"},
        "class_names": CLASSES,
        "counts": dict(counts(random, right)),
    }
    return RunResults(**{**values, **changes})
