"""helm accepts the chart, Kubernetes accepts what helm makes of it, bad values are refused."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest

from tests.chart.cases import KUBE_VERSIONS, REFUSED, VALUES
from tests.chart.helm import Helm

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("case", VALUES)
def test_helm_lints_without_a_warning(helm: Helm, case: str) -> None:
    result = helm.lint(VALUES[case])
    assert result.returncode == 0, result.stdout
    assert "[WARNING]" not in result.stdout


@pytest.mark.parametrize("kube_version", KUBE_VERSIONS)
@pytest.mark.parametrize("case", VALUES)
def test_kubernetes_accepts_every_document(helm: Helm, case: str, kube_version: str) -> None:
    documents = helm.documents(VALUES[case], kube_version=kube_version)
    for document in documents:
        kubernetes_validate.validate(document, kube_version, strict=True)
    assert {"Deployment", "Service", "ConfigMap"} <= {document["kind"] for document in documents}


def test_the_validator_refuses_an_unknown_field(helm: Helm) -> None:
    document = next(d for d in helm.documents({}) if d["kind"] == "Deployment")
    document["spec"]["replicaz"] = 2
    with pytest.raises(kubernetes_validate.ValidationError, match="replicaz"):
        kubernetes_validate.validate(document, "1.37", strict=True)


@pytest.mark.parametrize("case", REFUSED)
def test_bad_values_are_refused_by_name(helm: Helm, case: str) -> None:
    values, named = REFUSED[case]
    result = helm.template(values)
    assert result.returncode != 0
    assert named in result.stderr


def test_an_old_cluster_is_refused(helm: Helm) -> None:
    result = helm.template({}, kube_version="1.29")
    assert result.returncode != 0
    assert "incompatible with Kubernetes v1.29" in result.stderr


@pytest.mark.parametrize("case", ["default", "everything"])
def test_the_render_is_the_one_that_was_read(helm: Helm, case: str) -> None:
    kept = (GOLDEN / f"{case}.yaml").read_text()
    assert helm.template(VALUES[case]).stdout == kept, "read it: python -m tests.chart.golden"
