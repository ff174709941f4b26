"""`python -m models import-checkpoint`: from a published file of weights to ours."""

import glob
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import keras

from models import builder
from models.architectures.deeplab_v2 import UPSAMPLINGS
from models.backbones.torch_file import read_pth
from models.commands.parsing import make_parser
from models.weights.assignment import Report
from models.weights.caffe_checkpoint import import_caffemodel
from models.weights.caffe_file import read_caffemodel
from models.weights.slim_checkpoint import import_checkpoint, open_checkpoint
from models.weights.slim_names import SCOPES
from models.weights.torch_checkpoint import BACKBONES as TORCH_BACKBONES
from models.weights.torch_checkpoint import import_pth

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

SUFFIX = ".weights.h5"


class _Format(NamedTuple):
    """How a kind of file is read.

    Attributes:
        kind: For errors.
        read: Returns what is in it.
        load: Sets a network's weights from that.
    """

    kind: str
    read: Callable[[Path], Any]
    load: Callable[..., Report]


_TENSORFLOW = _Format("a checkpoint of TensorFlow", open_checkpoint, import_checkpoint)
_PYTORCH = _Format("a .pth", read_pth, import_pth)
# A backbone knows from which files its weights are.
_FORMATS = {
    **dict.fromkeys(SCOPES, _TENSORFLOW),
    "resnet101_caffe": _Format("a .caffemodel", read_caffemodel, import_caffemodel),
    **dict.fromkeys(TORCH_BACKBONES, _PYTORCH),
}


def import_parser() -> "ArgumentParser":
    """Return the parser of the command."""
    from jsonargparse.typing import PositiveInt

    parser = make_parser(
        description="Turn a published file into a file of weights: a checkpoint of DeepLab's own "
        "code, DeepLabV2's .caffemodel, or ImageNet's .pth."
    )
    add = parser.add_argument
    add(
        "checkpoint",
        type=Path,
        help="The checkpoint's prefix, or a folder with one checkpoint (xception_65, "
        "resnet101_beta); a .caffemodel (resnet101_caffe); or a .pth of torchvision "
        "(resnet101_pytorch) or PyTorch-Encoding (resnet101_encoding).",
    )
    add(
        "--output",
        type=Path,
        required=True,
        help=f"The file that `models.build(..., weights=FILE)` takes: its name ends in {SUFFIX}. "
        "It holds no random weights.",
    )
    add(
        "--architecture",
        type=Literal[tuple(builder.ARCHITECTURES)],
        default="deeplab_v3_plus",
        help="Of the checkpoint's network; any one where that is a backbone alone.",
    )
    add("--num_classes", type=PositiveInt, default=21, help="Number of classes; likewise.")
    add("--backbone", type=Literal[tuple(_FORMATS)], default="xception_65", help="The backbone.")
    add(
        "--separable",
        type=bool | None,
        help="Whether pyramid and decoder have depthwise separable kernels; null: the default of "
        "`models.build` for the backbone.",
    )
    add(
        "--upsampling",
        type=Literal[UPSAMPLINGS] | None,
        help="Of deeplab_v2; null: its default. A learnt one is not in the checkpoint: it begins "
        "bilinear.",
    )
    add(
        "--partial",
        type=bool,
        default=False,
        help="Accept a checkpoint that has other variables, or lacks some behind the backbone, as "
        "those of ImageNet: the file holds the backbone alone, or all but the logits where they "
        "alone are missing, and serves any number of classes.",
    )
    return parser


def import_weights(options: "Namespace") -> str:
    """Write the file of weights; return what became of each variable of the checkpoint.

    Raises:
        ValueError: The file cannot be written, or the checkpoint does not fit the network.
    """
    _check_output(options.output)
    content = _read(options.checkpoint, options.backbone)  # before the network is built
    chosen = {"separable": options.separable, "upsampling": options.upsampling}
    model = builder.build(
        options.architecture,
        backbone=options.backbone,
        num_classes=options.num_classes,
        **{name: value for name, value in chosen.items() if value is not None},
    )
    report = _FORMATS[options.backbone].load(model, content, partial=options.partial)
    _save_whole(report.part.network, options.output)
    return f"{_listed(report)}\nWeights of {report.part.name}: {options.output}"


def _read(checkpoint: Path, backbone: str) -> Any:
    """Read a file; the backbone, which has a default, may be what is wrong."""
    kind, read, _ = _FORMATS[backbone]
    try:
        return read(checkpoint)
    except (ValueError, OSError) as error:
        raise ValueError(f"--backbone {backbone} takes {kind}: {error}") from error


def _check_output(path: Path) -> None:
    """Refuse, before the work, a file that could not be written after it."""
    if not path.name.endswith(SUFFIX):
        raise ValueError(f"{path}: expected a name that ends in {SUFFIX}")
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, it is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path}: the folder {path.parent} cannot be written to")


def _save_whole(model: keras.Model, path: Path) -> None:
    """Save the weights so that a file cut short never bears the name."""
    unfinished = _unfinished_path(path)
    try:
        model.save_weights(unfinished, overwrite=True)
        _flush(unfinished)
        os.replace(unfinished, path)
    except RuntimeError as error:  # by which h5py says that a disk is full
        raise OSError(f"{path} cannot be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _unfinished_path(path: Path) -> Path:
    """Return where a file is written before it gets its name: Keras demands the suffix.

    What processes of this machine that were killed have left of it is removed: a network's size
    each.
    """
    prefix, suffix = f".{platform.node()}-", f"-{path.name}"
    for left in path.parent.glob(f"{glob.escape(prefix)}*{glob.escape(suffix)}"):
        process = left.name.removeprefix(prefix).removesuffix(suffix)
        if process.isdecimal() and not _is_alive(int(process)):
            left.unlink(missing_ok=True)
    return path.with_name(f"{prefix}{os.getpid()}{suffix}")


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # where this would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def _flush(path: Path) -> None:
    """Wait until a file is on the disk: one that gets its name before may be empty after a cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _listed(report: Report) -> str:
    """List every variable on a line of its own, and the counts at the end, where they are seen."""
    kinds = ("used", "ignored", "unused", "missing")
    lines = [f"{kind:8}{name}" for kind in kinds for name in getattr(report, kind)]
    return "\n".join([*lines, f"Variables: {report}"])
