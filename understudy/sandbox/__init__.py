"""Code that a model wrote runs only here: confined by bubblewrap, judged from outside itself."""

from understudy.sandbox.records import Case, Limits, Outcome, Program, Verdict
from understudy.sandbox.sandbox import Sandbox

__all__ = ["Case", "Limits", "Outcome", "Program", "Sandbox", "Verdict"]
