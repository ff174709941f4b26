"""The faults of `make mutants` still fit the code they are planted in."""

from pathlib import Path

import pytest

from tests.mutants.__main__ import copy_project, mirrored, plant
from tests.mutants.faults import FAULTS, Fault

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.path}: {fault.name}")
def test_a_fault_changes_one_place_and_has_tests(fault):
    assert (ROOT / fault.path).read_text().count(fault.old) == 1
    assert fault.new != fault.old
    assert mirrored(fault)


def test_a_fault_is_planted_in_a_copy(tmp_path):
    path = "tfsegloss/core/replicas.py"
    copy_project(tmp_path)
    plant(Fault(path, "an example", "Division by counts", "Multiplication"), tmp_path)
    assert "Multiplication" in (tmp_path / path).read_text()
    assert "Multiplication" not in (ROOT / path).read_text()
    with pytest.raises(ValueError, match="0 times, not once: 'no such text'"):
        plant(Fault(path, "no place", "no such text", ""), tmp_path)
