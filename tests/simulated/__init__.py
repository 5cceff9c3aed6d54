"""A GPU that is not there, for tests: see `accelerator` for what it does, `launches` for counting kernels."""

from tests.simulated.accelerator import Accelerator, Wait, simulated
from tests.simulated.launches import Launches

__all__ = ["Accelerator", "Launches", "Wait", "simulated"]
