"""The faults: what a careless change might do to a line."""

from tests.mutants.faults.fault import Fault
from tests.mutants.faults.library import LIBRARY
from tests.mutants.faults.networks import NETWORKS
from tests.mutants.faults.training import TRAINING

FAULTS = (*LIBRARY, *NETWORKS, *TRAINING)

__all__ = ["FAULTS", "Fault"]
