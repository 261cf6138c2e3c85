"""Who helps: clouds behind one protocol, `understudy.types.Cloud`."""

from understudy.clouds.metered import MeteredCloud
from understudy.clouds.simulated import FaultyCloud, SimulatedCloud

__all__ = ["FaultyCloud", "MeteredCloud", "SimulatedCloud"]
