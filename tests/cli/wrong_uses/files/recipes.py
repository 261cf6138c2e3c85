from pydantic import Field

from understudy.recipes.dagrpo import DualAdvantage

NUMBER = 3


def plain_function():
    return 3


class NoSettings:
    pass


class Raises(DualAdvantage):
    def __init__(self, *_):
        raise RuntimeError("of my own")


class Own(DualAdvantage):
    """One that works."""

    class Settings(DualAdvantage.Settings):
        rate: float = Field(0.1, ge=0, description="of my own")
