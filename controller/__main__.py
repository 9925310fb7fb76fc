"""The command `controller`, also `python -m controller`: every command, and the demo on top."""

from __future__ import annotations

import sys

from controller.cli.main import run_command
from controller.demo import command as demo


def main() -> int:
    """Run one command from the shell's arguments."""
    return run_command(sys.argv[1:], on_top=(demo.add,))


if __name__ == "__main__":
    sys.exit(main())
