"""The settings of the sandbox."""

from __future__ import annotations

from pydantic import Field

from understudy.settings import Section


class SandboxSettings(Section):
    """Where programs that a model wrote are run."""

    allow_unsafe_code: bool = Field(
        False, description="run them without bubblewrap, on your own responsibility"
    )
