"""Faults of the networks."""

from tests.mutants.faults.fault import Fault

NETWORKS = (
    Fault(
        "models/backbones/multi_grid.py",
        "the same rate for the whole block",
        'config["dilation_rate"] = rate_of[layer.name]',
        'config["dilation_rate"] = max(rate_of.values())',
    ),
    Fault(
        "models/dilation/converter.py",
        "a dilation forgotten",
        "return max(1, geometry.stride // self.output_stride)",
        "return 1",
    ),
    Fault(
        "models/dilation/converter.py",
        "explicit padding not scaled",
        "scaled = tuple(rate * cells for cells in rows)",
        "scaled = tuple(rows)",
    ),
    Fault(
        "models/dilation/converter.py",
        "squeezes see the dense map",
        "outputs, geometry = layer(self._sparse(layer, tensors[0], geometry)), NO_MAP",
        "outputs, geometry = layer(tensors[0]), NO_MAP",
    ),
    Fault(
        "models/dilation/geometry.py",
        "features centered half a kernel off",
        "offset=self.offset + self.stride * (half - window.before)",
        "offset=self.offset + self.stride * half",
    ),
    Fault(
        "models/layers/batch_norm.py",
        "statistics not frozen",
        "kind = FixedStatistics",
        "kind = keras.layers.BatchNormalization",
    ),
    Fault(
        "models/layers/batch_norm.py",
        "batch normalization not synchronized",
        '"synchronized": True',
        '"synchronized": False',
    ),
    Fault(
        "models/backbones/resnet_101.py",
        "Caffe's strides in the 3x3 kernels",
        "strides[flavor.strided] = stride",
        "strides[1] = stride",
    ),
    Fault(
        "models/layer_names.py",
        "weights taken of a backbone of the same shapes",
        'return sorted(name for name in set(layers) if _NUMBER.sub("", name) not in ours)',
        "return []",
    ),
    Fault(
        "models/class_count.py",
        "a network of other channels taken",
        "return theirs if ours == num_classes and not more else None",
        "return theirs",
    ),
    Fault(
        "models/weights/caffe_checkpoint.py",
        "sums of statistics not divided",
        "share = 0.0 if factor.item() == 0 else 1 / factor.item()",
        "share = 1.0",
    ),
    Fault(
        "models/weights/caffe_file.py",
        "a length beyond the end of the file",
        "if size > len(data) - position:",
        "if False:",
    ),
    Fault(
        "models/weights/assignment.py",
        "kernels turned on their side",
        "CHANNELS_LAST = (2, 3, 1, 0)",
        "CHANNELS_LAST = (3, 2, 1, 0)",
    ),
    Fault(
        "models/weights/assignment.py",
        "part of a backbone taken for it",
        "missing = [name for name in self.missing if name in backbone]",
        "missing = []",
    ),
    Fault(
        "models/weights/assignment.py",
        "part of a head taken for it",
        "if surplus and set(self.used) - set(backbone):",
        "if False:",
    ),
    Fault(
        "models/weights/assignment.py",
        "random weights behind the backbone written too",
        "part = next(x for x in parts(model) if lacking.isdisjoint(map(id, x.network.weights)))",
        "part = next(parts(model))",
    ),
    Fault(
        "models/weights/assignment.py",
        "values taken whatever they are",
        "ready = {name: _checked(name, weight, values[name]) for name, weight in weights.items()}",
        "ready = values",
    ),
    Fault(
        "models/weights/assignment.py",
        "a deeper backbone taken for a part",
        "others = [name for name in report.unused if like_backbone.match(name)]",
        "others = []",
    ),
    Fault(
        "models/zip_members.py",
        "compressed archives read",
        "if not stored or member.compress_size != member.file_size:",
        "if False:",
    ),
    Fault(
        "models/zip_members.py",
        "files of an archive read that share their bytes",
        "if (total := sum(member.file_size for member in members)) > size:",
        "if (total := 0) > size:",
    ),
    Fault(
        "models/backbones/torch_unpickler.py",
        "a pickle of any length run",
        "if file.tell() - start > _LONGEST_PICKLE:",
        "if False:",
    ),
    Fault(
        "models/commands/import_checkpoint.py",
        "what killed imports have left stays",
        "            left.unlink(missing_ok=True)\n",
        "            pass\n",
    ),
)
