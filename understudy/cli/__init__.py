"""The command line: a verb per file. Each parses, calls and prints."""

from __future__ import annotations


def main() -> None:
    """Run the command that the process was started with."""
    from understudy.cli import program

    program.main()
