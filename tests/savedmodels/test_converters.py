"""What converters make of a SavedModel: they read its graph with their own arithmetic."""

import itertools
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from models import ARCHITECTURES
from savedmodels import archive
from tests.models import networks

CLASSES = archive.Classes("pets", ("cat", "dog"), ((1, 2, 3), (4, 5, 6)), "softmax")
# As C divides, and with it ONNX: towards 0, where TensorFlow divides downwards.
TRUNCATED = {"FloorMod": "TruncateMod", "FloorDiv": "TruncateDiv"}

FAST = [("deeplab_v2", "padded", 8, 0.7, {"upsampling": "deconvolution"})]
REST = [
    pytest.param((*case, {}), marks=pytest.mark.full)
    for case in itertools.product(ARCHITECTURES, networks.KINDS, (8, 16), (1.0, 0.7))
]


@pytest.fixture(scope="module", params=[*FAST, *REST], ids=lambda case: "-".join(map(str, case)))
def folder(request, tmp_path_factory):
    """Return the SavedModel of a network."""
    architecture, kind, output_stride, resolution, options = request.param
    keras.utils.set_random_seed(0)
    model = networks.build(
        architecture, kind=kind, output_stride=output_stride, num_classes=2, **options
    )
    folder = tmp_path_factory.mktemp("converted") / "model"
    archive.write(model, resolution, CLASSES, folder)
    return folder


def check_same(serve, folder):
    """Compare with TensorFlow on images of odd sides, one of them with fewer than a cell's."""
    model = tf.saved_model.load(str(folder))
    for shape in [(1, 33, 47, 3), (2, 50, 31, 3), (1, 5, 64, 3)]:
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        wanted, got = model.serve(images)["probabilities"].numpy(), serve(images)
        assert got["classes"].shape == shape[:3]
        deviation = np.abs(got["probabilities"] - wanted).max()
        assert deviation < 1e-3 * np.ptp(wanted), shape


def test_no_size_depends_on_how_negative_numbers_are_divided(folder, tmp_path):
    truncated = shutil.copytree(folder, tmp_path / "truncated")
    path = truncated / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for function in saved.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            node.op = TRUNCATED.get(node.op, node.op)
    path.write_bytes(saved.SerializeToString())
    model = tf.saved_model.load(str(truncated))
    check_same(model.serve, folder)


def test_tensorflow_lite(folder):
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converted = tf.lite.Interpreter(model_content=converter.convert()).get_signature_runner()
    check_same(lambda images: converted(images=images), folder)


def test_onnx(folder):
    reason = 'converters to ONNX: pip install ".[onnx]"'
    tf2onnx = pytest.importorskip("tf2onnx", reason=reason)
    onnxruntime = pytest.importorskip("onnxruntime", reason=reason)
    model = tf.saved_model.load(str(folder))
    signature = [tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")]
    function = tf.function(model.signatures["serve"])
    graph, _ = tf2onnx.convert.from_function(function, input_signature=signature)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    names = [output.name for output in session.get_outputs()]

    def converted(images):
        outputs = session.run(None, {session.get_inputs()[0].name: images})
        return dict(zip(names, outputs, strict=True))

    check_same(converted, folder)
