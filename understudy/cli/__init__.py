"""The command line: a verb per file. Each parses, calls and prints."""

from understudy.cli.program import app, main

__all__ = ["app", "main"]
