from pydantic import Field

from understudy.settings import KindSection

NUMBER = 3


def function():
    return 3


class NoSettings:
    pass


class NoScores:
    class Settings(KindSection):
        pass


class Own:
    class Settings(KindSection):
        weight: float = Field(1.0, ge=0, description="of my own")

    def __init__(self):
        pass
