"""`make bench`: assignment, requests, ingest, a look and distribution, one after the other.

Each runs on this machine, in a process of its own.

`make bench ARGS=look` runs one of them. Each prints what it measured and a ratio taken in the same
run; figures of different machines, or of different days, are not compared.
"""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = ("assignment", "requests", "ingest", "look", "distribution")


def main() -> int:
    """Run what was asked for, each in a process of its own."""
    asked = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in asked if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in asked:
        print(f"== {name}", flush=True)
        ran = subprocess.run([sys.executable, "-m", f"tests.benchmarks.bench_{name}"], check=False)
        if ran.returncode:
            return ran.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
