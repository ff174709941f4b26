"""What a loss looks at, pixel by pixel: as arrays, and as pictures of several losses.

    python -m tfsegloss.explain LABELS LOGITS --output PICTURE [--losses LOSS…] [--image IMAGE]
    python -m tfsegloss.explain --figures DIR

The pictures need matplotlib: `pip install tfsegloss[plot]`.
"""

from tfsegloss.explain.lmp_figures import draw_optimal_weights, draw_weight_space
from tfsegloss.explain.maps import explain
from tfsegloss.explain.picture import SUFFIXES, draw, save
from tfsegloss.losses.registry import losses_by_name

__all__ = [
    "SUFFIXES",
    "draw",
    "draw_optimal_weights",
    "draw_weight_space",
    "explain",
    "losses_by_name",
    "save",
]
