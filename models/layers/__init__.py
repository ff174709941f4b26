"""Layers of the networks, and blocks of them."""

from models.layers.layers import (
    CropLike,
    DilatedPooling2D,
    PadToMultiple,
    PixelNormalization,
    ResizeLike,
)

__all__ = ["CropLike", "DilatedPooling2D", "PadToMultiple", "PixelNormalization", "ResizeLike"]
