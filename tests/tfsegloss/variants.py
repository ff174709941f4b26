"""Every loss of the registry with the options that the contract's tests give it.

A new loss is in all of them by its entry in the registry. It needs one here where its defaults do
not suit images of a few pixels, or where options change its formula.
"""

import functools

import tfsegloss
from tests.tfsegloss.examples import example
from tests.tfsegloss.steps import DYNAMIC, reusable_step, value_and_gradient
from tfsegloss.core.keras_versions import IS_KERAS_2
from tfsegloss.losses import registry

WEIGHTS = {"label_smoothing": 0.1, "class_weights": [1.0, 2.0, 0.5]}
# Options by class and by variant. The one without a name is the first of its class, which meets
# Keras, replicas and the compiler; the others change its formula.
OPTIONS = {
    "SoftmaxCrossEntropy": {
        "": {},
        "smoothed": WEIGHTS,
        "topk": {"pooling": tfsegloss.TopK()},
    },
    "SigmoidCrossEntropy": {
        "": {},
        "smoothed": WEIGHTS,
        "minkowski": {"pooling": tfsegloss.Minkowski()},
    },
    "FocalLoss": {"": {}, "sigmoid": {"activation": "sigmoid"}},
    "CenterLoss": {"": {"weight": 0.01}},
    "LADLoss": {
        "": {"kernel_size": 3},
        "wide": {},
        "strided": {"kernel_size": 3, "stride": 2, "pooling": tfsegloss.MaxPooling()},
    },
    "SSLLoss": {"": {}, "pixel": {"window_size": 1}},
    "SSIMLoss": {"": {}, "contrast": {"form": "contrast_structure", "window_size": 5}},
    # By the defaults, 4 and 8, an image of a few pixels has one region and no pair of pixels:
    # terms of regions and of edges that are constant.
    "RMILoss": {
        "": {"downsample_factor": 2},
        "max": {"downsample": "max", "downsample_factor": 3, "region_size": 2},
        "bilinear": {"downsample": "bilinear", "downsample_factor": 2},
        "full": {"downsample": None},
    },
    "AffinityFieldLoss": {"": {"downsample_factor": 2}},
    "DiceLoss": {"": {}, "sigmoid": {"activation": "sigmoid", "per_image": True, "classes": "all"}},
    "TverskyLoss": {"": {}, "focal": {"gamma": 0.75}},
    "LovaszLoss": {
        "": {},
        "hinge": {"activation": "sigmoid", "per_image": True, "classes": "all"},
    },
}
# One of pixels, one of regions, one of several losses: for what happens before any formula.
FEW = ("SoftmaxCrossEntropy", "RMILoss", "WeightedLosses")
# Parts that look at regions: they do not see the weights of pixels.
REGION_PARTS = {"edge", "non_edge", "dissimilarity", "region"}


class Variant:
    """Makes a loss with its options; what is computed of it once a session.

    Attributes:
        is_first: Whether it stands for its class where options do not matter.
    """

    def __init__(self, kind, options, is_first):
        self.kind, self.options, self.is_first = kind, options, is_first
        self._steps = {}

    def __call__(self, **options):
        return self.kind(**self.options | options)

    @functools.cached_property
    def expected(self):
        """Value and gradient of the example, eagerly."""
        return value_and_gradient(self(), *example())

    @property
    def compiled_step(self):
        """The step as one XLA program, for the shape of the example."""
        return self._step("compiled", jit_compile=True)

    @property
    def dynamic_step(self):
        """The step of each image by itself in a graph for any shape, without clusters."""
        return self._step("dynamic", {"reduction": "none"}, input_signature=DYNAMIC)

    def _step(self, name, options=None, **how):
        if name not in self._steps:
            self._steps[name] = reusable_step(self(**options or {}), **how)
        return self._steps[name]


def find_variants():
    """Each variant of each loss of the registry, and a sum, by their names."""
    found = {}
    for name, kind in {**registry.LOSSES, "WeightedLosses": _weighted}.items():
        for variant, options in OPTIONS.get(name, {"": {}}).items():
            label = f"{name}/{variant}" if variant else name
            found[label] = Variant(kind, options, is_first=not variant)
    return found


def _weighted(*, name=None, **options):
    """Return a sum; its options are those of its losses."""
    return tfsegloss.WeightedLosses(
        {
            "sigmoid": (0.5, tfsegloss.SigmoidCrossEntropy(**options)),
            "ssl": (2.0, tfsegloss.SSLLoss(**options)),
        },
        name=name,
    )


VARIANTS = find_variants()
FIRST = {name: variant for name, variant in VARIANTS.items() if variant.is_first}
# A graph of affinity fields takes seconds to trace: eight shifts of the maps.
QUICK = {name: variant for name, variant in FIRST.items() if name != "AffinityFieldLoss"}
if IS_KERAS_2:
    # Every loss is held against its numbers under Keras 3: these are what Keras does with losses.
    QUICK = {name: FIRST[name] for name in (*FEW, "CenterLoss", "LADLoss")}
