"""Where the program begins."""

from __future__ import annotations

from understudy import interrupt


def main() -> None:
    interrupt.end_at_once()
    from understudy.cli import main as run_command

    run_command()


if __name__ == "__main__":
    main()
