"""Errors that a user can put right: the command line prints one line and exits with code 2."""

from __future__ import annotations


class UnderstudyError(Exception):
    """What happened, with which value, and what to do about it, in one line."""


class ConfigError(UnderstudyError):
    """A recipe, key, value, stream or phase that cannot be used."""


class RunError(UnderstudyError):
    """A run directory that cannot be read, written or resumed."""


class CheckpointError(UnderstudyError):
    """A model or training state on disk that is missing, truncated or of another kind."""


class CloudError(UnderstudyError):
    """A cloud that does not answer, or of which too many calls fail."""


class DivergedError(UnderstudyError):
    """Training produced NaN or infinity; the last good state is kept."""


class SandboxError(UnderstudyError):
    """Code that a model wrote and that cannot be run safely here, or not as it was handed over."""


class StaleSamplerError(UnderstudyError):
    """What another engine draws from is not the model that was just trained."""


class TeamError(UnderstudyError):
    """Another process that trains the same model has ended."""


class LedgerUnavailable(UnderstudyError):  # noqa: N818 - a state of the ledger, not a mistake
    """The ledger's database cannot be reached or written: no room can be promised to any call."""
