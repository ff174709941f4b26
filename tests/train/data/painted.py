"""Images that their labels are painted into, and encoders of both."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image


def blocks(size):
    """Ids in blocks of 10 pixels, and an image that they are painted into."""
    random = np.random.default_rng(0)
    ids = random.integers(0, 5, [-(-size[0] // 10), -(-size[1] // 10)])
    ids = ids.repeat(10, 0).repeat(10, 1)[: size[0], : size[1]].astype(np.uint8)
    return tf.constant(np.repeat(ids[..., None] * 40, 3, axis=-1)), tf.constant(ids)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(image.numpy()).save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(image):
    return encoded(image, "JPEG", quality=100, subsampling="4:4:4")


def png(image):
    return encoded(image, "PNG")
