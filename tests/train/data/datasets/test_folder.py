"""Own data: what `classes.yaml` may say."""

import pytest

from train.common.errors import UserError
from train.data.datasets.folder import read_folder
from train.data.datasets.voc import voc_colors
from train.data.decoding.palette import IGNORED


def described(folder, text):
    (folder / "classes.yaml").write_text(text)
    return read_folder(folder)


def test_names_alone(tmp_path):
    dataset = described(tmp_path, "classes: [road, other]\n")
    assert (dataset.name, dataset.license) == ("folder", "yours")
    assert dataset.class_names == ("road", "other")
    assert dataset.colors == voc_colors(2)
    assert dataset.ignored_colors == ((224, 224, 192),)
    assert dataset.encoding.gray == {0: 0, 1: 1, 255: 255}


def test_names_and_colors(tmp_path):
    dataset = described(
        tmp_path,
        """
        classes:
          - {name: road, color: [128, 64, 128]}
          - {name: other, color: [0, 0, 0]}
        ignored_ids: [9]
        ignored_colors: [[255, 255, 255], [1, 2, 3]]
        """,
    )
    assert dataset.class_names == ("road", "other")
    assert dataset.encoding.gray == {0: 0, 1: 1, 9: 255, 255: 255}
    assert dataset.encoding.colors == {
        (128, 64, 128): 0,
        (0, 0, 0): 1,
        (255, 255, 255): IGNORED,
        (1, 2, 3): IGNORED,
    }


def test_ids_of_files_are_mapped_to_classes(tmp_path):
    text = "{classes: [road, other], ids: {0: other, 7: road, 8: road, 255: other}}"
    assert described(tmp_path, text).encoding.gray == {0: 1, 7: 0, 8: 0, 255: 1}


def test_255_is_ignored_where_it_is_no_class(tmp_path):
    dataset = described(tmp_path, "{classes: [a, b], ids: {1: a, 2: b}, ignored_ids: [0]}")
    assert dataset.encoding.gray == {0: IGNORED, 1: 0, 2: 1, 255: IGNORED}


def test_one_class_is_told_from_a_background(tmp_path):
    dataset = described(tmp_path, "classes: [leaf]\n")
    assert dataset.class_names == ("background", "leaf")
    assert (dataset.num_classes, dataset.num_outputs) == (2, 1)
    assert dataset.encoding.gray == {0: 0, 1: 1, 255: IGNORED}
    two = described(tmp_path, "classes: [background, leaf]\n")
    assert (two.num_classes, two.num_outputs) == (2, 2)
    masks = described(tmp_path, "{classes: [leaf], ids: {0: background, 255: leaf}}")
    assert masks.encoding.gray == {0: 0, 255: 1}


@pytest.mark.parametrize(
    ("leaf", "background"), [((0, 128, 0), (0, 0, 0)), ((0, 0, 0), (255, 255, 255))]
)
def test_the_background_of_a_color_is_black_or_white(tmp_path, leaf, background):
    dataset = described(tmp_path, f"classes: [{{name: leaf, color: {[*leaf]}}}]")
    assert dataset.colors == (background, leaf)


MANY = ", ".join(f"c{i}" for i in range(256))
WRONG = {
    "[a, b]": "expected the keys classes, ids, ignored_ids, ignored_colors, got \\['a', 'b'\\]",
    "": "expected the keys .* got None",
    "classes: [a": "is no YAML: .*line 1",
    "{classes: [a], colors: []}": "no key 'colors': expected classes, ids, ignored_ids, .*",
    "ignored_ids: [9]": "classes: expected a list, got None",
    "classes: 3": "classes: expected a list, got 3",
    "classes: [2020-13-45]": "is no YAML: month must be in 1..12",
    "classes: []": "classes: expected 1 to 255 entries, got 0",
    f"classes: [{MANY}]": "classes: expected 1 to 255 entries, got 256",
    "classes: [yes, no]": "expected a name or {name: NAME, color: .*}, got True",
    "classes: [{color: [1, 2, 3]}]": "expected a name or .*, got {'color': \\[1, 2, 3\\]}",
    "classes: [{name: a, colour: [1, 2, 3]}]": "expected a name or .*'colour'",
    "classes: ['']": "expected a name or .*, got ''",
    "classes: [a, b, a]": "classes: 'a' is there twice",
    "classes: [{name: a, color: [1, 2, 3]}, b]": "all have a color or none has; b has none",
    "classes: [{name: a, color: [1, 2, 256]}]": r"expected a color .* got \[1, 2, 256\]",
    "classes: [{name: a, color: [1, 2]}]": r"expected a color \[R, G, B\] .* got \[1, 2\]",
    "classes: [{name: a, color: red}]": "expected a color .* got 'red'",
    "classes: [{name: a, color: [1, 2, 3]}, {name: b, color: [1, 2, 3]}]": (
        r"classes: \[1, 2, 3\] is there twice"
    ),
    "{classes: [a, b], ignored_ids: [1]}": (
        r"ignored_ids: expected ids up to 255 that are none of the classes' \(0, 1\), got 1"
    ),
    "{classes: [a], ignored_ids: [256]}": "ignored_ids: expected ids .* got 256",
    "{classes: [a], ignored_ids: [true]}": "ignored_ids: expected ids .* got True",
    "{classes: [a], ignored_ids: 9}": "ignored_ids: expected a list, got 9",
    "{classes: [a], ignored_colors: [[0, 0, 0]]}": r"\[0, 0, 0\] is the color of background",
    "classes: [background]": "classes: background alone leaves nothing to tell it from",
    "{classes: [a, b], ids: [0, 1]}": r"ids: expected {ID: NAME, …}, got \[0, 1\]",
    "{classes: [a, b], ids: {0: a, 256: b}}": "ids: expected ids from 0 to 255, got 256",
    "{classes: [a, b], ids: {0: a, 1: c}}": "ids: 1: expected one of a, b; got 'c'",
    "{classes: [a, b], ids: {0: a, 1: a}}": "ids: no id means b",
    "{classes: [a, b], ids: {7: a, 9: b}, ignored_ids: [9]}": (
        r"ignored_ids: expected ids .* none of the classes' \(7, 9\), got 9"
    ),
    "{classes: [a], ignored_colors: [5]}": r"ignored_colors: expected a color .* got 5",
}


@pytest.mark.parametrize("text", WRONG)
def test_every_mistake_is_one_line_with_file_and_key(tmp_path, text):
    with pytest.raises(UserError, match=WRONG[text]) as raised:
        described(tmp_path, text)
    message = str(raised.value)
    assert message.startswith(str(tmp_path / "classes.yaml"))
    assert "\n" not in message


def test_255_classes_are_the_most(tmp_path):
    names = ", ".join(f"c{i}" for i in range(255))
    assert described(tmp_path, f"classes: [{names}]").num_classes == 255


def test_names_are_of_any_language(tmp_path):
    (tmp_path / "classes.yaml").write_bytes("classes: [straße, weg]".encode())
    assert read_folder(tmp_path).class_names == ("straße", "weg")


def test_a_folder_without_description(tmp_path):
    with pytest.raises(UserError, match="no file .*classes.yaml; own data need .* labels/"):
        read_folder(tmp_path)
