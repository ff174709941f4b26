"""Writes .caffemodel files by the protobuf package, from a description of their messages."""

import functools
from types import SimpleNamespace

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = descriptor_pb2.FieldDescriptorProto
# Of each message: name, number, type and, for many, whether they are packed.
MESSAGES = {
    "BlobShape": [("dim", 1, "INT64", True)],
    "BlobProto": [
        ("num", 1, "INT32", None),
        ("channels", 2, "INT32", None),
        ("height", 3, "INT32", None),
        ("width", 4, "INT32", None),
        ("data", 5, "FLOAT", True),
        ("diff", 6, "FLOAT", True),
        ("shape", 7, "BlobShape", None),
        ("double_data", 8, "DOUBLE", True),
    ],
    "LayerParameter": [
        ("name", 1, "STRING", None),
        ("type", 2, "STRING", None),
        ("bottom", 3, "STRING", False),
        ("loss_weight", 5, "FLOAT", False),
        ("blobs", 7, "BlobProto", False),
    ],
    "V1LayerParameter": [
        ("bottom", 2, "STRING", False),
        ("name", 4, "STRING", None),
        ("type", 5, "INT32", None),
        ("blobs", 6, "BlobProto", False),
    ],
    "NetParameter": [
        ("name", 1, "STRING", None),
        ("layers", 2, "V1LayerParameter", False),
        ("input", 3, "STRING", False),
        ("force_backward", 5, "BOOL", None),
        ("layer", 100, "LayerParameter", False),
    ],
}


def caffe(packed=True):
    """Return the classes of Caffe's messages."""
    return _messages(packed)


@functools.cache
def _messages(packed):
    package = f"caffe_{'packed' if packed else 'unpacked'}"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package)
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            field = described.field.add(name=name, number=number, label=_TYPES.LABEL_OPTIONAL)
            if repeated is not None:
                field.label = _TYPES.LABEL_REPEATED
            if kind in MESSAGES:
                field.type, field.type_name = _TYPES.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = getattr(_TYPES, f"TYPE_{kind}")
                field.options.packed = bool(repeated and packed)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return SimpleNamespace(
        **{
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
            for name in MESSAGES
        }
    )


def blob(array, *, old=False, packed=True):
    """Return a message of an array."""
    array = np.asarray(array)
    message = caffe(packed).BlobProto()
    values = message.double_data if array.dtype == np.float64 else message.data
    values.extend(array.ravel().tolist())
    if old:
        sides = (1,) * (4 - array.ndim) + array.shape
        message.num, message.channels, message.height, message.width = sides
    else:
        message.shape.dim.extend(array.shape)
    return message


def caffemodel(layers, *, old=False, packed=True) -> bytes:
    """Return a file of layers, each a list of arrays or of messages, by name."""
    net = caffe(packed).NetParameter(name="ResNet-101", input=["data"], force_backward=True)
    for name, blobs in layers.items():
        layer = (net.layers if old else net.layer).add(name=name, bottom=["below"])
        layer.type = 4 if old else "Convolution"
        for one in blobs:
            ready = blob(one, old=old, packed=packed) if isinstance(one, np.ndarray) else one
            layer.blobs.append(ready)
    return net.SerializeToString()
