"""The chart's objects fit together, and fit the program they start."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.chart.cases import VALUES
from tests.chart.helm import CHART, Document, Helm

ROOT = CHART.parents[1]
COMPONENTS = {"web", "stream", "worker"}


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    """The documents of these kinds."""
    return [document for document in documents if document["kind"] in kinds]


def pod_of(document: Document) -> Document:
    """A workload's pod template."""
    template: Document = document["spec"]["template"]
    return template


def container_of(document: Document) -> Document:
    """The one container of a workload."""
    (container,) = pod_of(document)["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def name_of(document: Document) -> str:
    """An object's name."""
    return str(document["metadata"]["name"])


def selects(selector: dict[str, str], workload: Document) -> bool:
    """Whether a label selector picks the pods of a workload."""
    labels: dict[str, str] = pod_of(workload)["metadata"]["labels"]
    return selector.items() <= labels.items()


def environment_names(document: Document) -> set[str]:
    """Names set directly in a workload's container."""
    return {entry["name"] for entry in container_of(document).get("env", [])}


def strings_in(value: Any) -> Iterator[str]:
    """Every string inside a document."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)
    elif isinstance(value, str):
        yield value


@pytest.fixture(params=list(VALUES))
def documents(request: pytest.FixtureRequest, helm: Helm) -> list[Document]:
    """The chart, rendered for each case."""
    return helm.documents(VALUES[request.param])


def test_each_selector_picks_the_pods_of_one_workload(documents: list[Document]) -> None:
    workloads = of_kind(documents, "Deployment", "Job")
    for deployment in of_kind(documents, "Deployment"):
        picked = [w for w in workloads if selects(deployment["spec"]["selector"]["matchLabels"], w)]
        assert picked == [deployment]
    for service in of_kind(documents, "Service"):
        picked = [w for w in workloads if selects(service["spec"]["selector"], w)]
        assert [name_of(w) for w in picked] == [name_of(service)]
    for budget in of_kind(documents, "PodDisruptionBudget"):
        picked = [w for w in workloads if selects(budget["spec"]["selector"]["matchLabels"], w)]
        assert [name_of(w) for w in picked] == [name_of(budget)]


def test_a_service_reaches_a_port_that_is_open(documents: list[Document]) -> None:
    deployments = {name_of(d): d for d in of_kind(documents, "Deployment")}
    services = of_kind(documents, "Service")
    assert {name_of(s).rpartition("-")[2] for s in services} == {"web", "stream"}
    for service in services:
        open_ports = {port["name"] for port in container_of(deployments[name_of(service)])["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= open_ports


def test_the_ingress_leads_to_services_that_exist(documents: list[Document]) -> None:
    ports = {
        name_of(service): {port["name"] for port in service["spec"]["ports"]}
        for service in of_kind(documents, "Service")
    }
    for ingress in of_kind(documents, "Ingress"):
        paths = ingress["spec"]["rules"][0]["http"]["paths"]
        assert {path["path"]: path["pathType"] for path in paths} == {
            "/": "Prefix",
            "/v1/ruleset/stream": "Exact",
        }
        for path in paths:
            service = path["backend"]["service"]
            assert service["port"]["name"] in ports[service["name"]]


def test_an_autoscaler_owns_the_number_of_replicas(documents: list[Document]) -> None:
    scaled = {
        d["spec"]["scaleTargetRef"]["name"] for d in of_kind(documents, "HorizontalPodAutoscaler")
    }
    deployments = {name_of(d): d for d in of_kind(documents, "Deployment")}
    assert scaled <= deployments.keys()
    assert {name for name, d in deployments.items() if "replicas" not in d["spec"]} == scaled


def test_the_network_lets_in_what_a_service_needs(documents: list[Document]) -> None:
    policies = of_kind(documents, "NetworkPolicy")
    workloads = of_kind(documents, "Deployment", "Job")
    for policy in policies:
        (workload,) = (
            w for w in workloads if selects(policy["spec"]["podSelector"]["matchLabels"], w)
        )
        reached = container_of(workload)["name"] in {"web", "stream"}
        let_in = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
        assert let_in == (["http"] if reached else [])
    assert len(policies) in {0, len(workloads)}


def test_every_pod_keeps_to_the_restricted_standard(documents: list[Document]) -> None:
    for workload in of_kind(documents, "Deployment", "Job"):
        pod, container = pod_of(workload)["spec"], container_of(workload)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] >= 10_000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
        assert container["resources"].keys() == {"requests", "limits"}
        assert container["resources"]["limits"].keys() == {"memory"}


def test_only_empty_directories_are_written_to(documents: list[Document]) -> None:
    for workload in of_kind(documents, "Deployment", "Job"):
        volumes = {volume.pop("name"): volume for volume in pod_of(workload)["spec"]["volumes"]}
        mounts = {m["name"]: m["mountPath"] for m in container_of(workload)["volumeMounts"]}
        assert volumes.keys() == mounts.keys()
        assert all(volume == {"emptyDir": {}} for volume in volumes.values())
        assert set(mounts.values()) == {"/tmp", "/var/lib/controller"}


def test_secret_values_come_by_reference(documents: list[Document]) -> None:
    assert of_kind(documents, "Secret") == []
    names = set()
    for workload in of_kind(documents, "Deployment", "Job"):
        for entry in container_of(workload)["env"]:
            if "valueFrom" in entry:
                reference = entry["valueFrom"]["secretKeyRef"]
                names.add(reference["name"])
                assert re.fullmatch(r"[A-Za-z0-9._-]+", reference["key"])
    assert len(names) == 1
    for text in strings_in(documents):
        assert not re.search(r"://[^/\s]+:[^/\s]+@", text)


def test_a_process_holds_only_the_secrets_it_needs(documents: list[Document]) -> None:
    held = {
        container_of(w)["name"]: environment_names(w) - {"CONTROLLER_DATA_DIR"}
        for w in of_kind(documents, "Deployment", "Job")
    }
    everything = {"DATABASE_URL", "REDIS_URL", "CONTROLLER_SECRET_KEY"}
    assert held.pop("migrate", {"DATABASE_URL"}) == {"DATABASE_URL"}
    assert held == {
        "web": everything,
        "worker": everything,
        "stream": {"REDIS_URL", "CONTROLLER_SECRET_KEY"},
    }


def test_every_setting_is_one_that_the_program_reads(documents: list[Document]) -> None:
    read = set(re.findall(r'"([A-Z][A-Z_]+)"', (ROOT / "controller" / "settings.py").read_text()))
    (settings,) = of_kind(documents, "ConfigMap")
    given = set(settings["data"])
    for workload in of_kind(documents, "Deployment", "Job"):
        given |= environment_names(workload)
    assert given - read == set()


def test_sdks_are_sent_to_an_address_of_the_stream(helm: Helm) -> None:
    def addresses(values: dict[str, Any]) -> tuple[str | None, str | None]:
        (settings,) = of_kind(helm.documents(values), "ConfigMap")
        data = settings["data"]
        return data.get("CONTROLLER_PUBLIC_URL"), data.get("CONTROLLER_STREAM_URL")

    assert addresses({}) == (None, "http://trial-rollout-controller-stream.models.svc:80")
    assert addresses({"ingress": {"enabled": True, "host": "a.example"}}) == (
        "http://a.example",
        "http://a.example",
    )
    tls = {"ingress": {"enabled": True, "host": "a.example", "tlsSecret": "tls"}}
    own = {"config.CONTROLLER_PUBLIC_URL": "https://own.example"}
    assert addresses(tls | own) == ("https://own.example", "https://a.example")


def test_web_trusts_the_ingress_and_nobody_else_unless_told(helm: Helm) -> None:
    """Else every client of an ingress has one address, and one of them slows all sign-ins down."""

    def trusted(values: dict[str, Any]) -> str:
        (settings,) = of_kind(helm.documents(values), "ConfigMap")
        return str(settings["data"]["CONTROLLER_TRUSTED_PROXIES"])

    behind = {"ingress": {"enabled": True, "host": "a.example"}}
    assert trusted({}) == "0"
    assert trusted(behind) == "1"
    assert trusted(behind | {"web.trustedProxies": 2}) == "2"
    assert trusted(behind | {"web.trustedProxies": 0}) == "0"


def test_the_configmap_holds_the_ports_that_are_open(documents: list[Document]) -> None:
    (settings,) = of_kind(documents, "ConfigMap")
    key = {"web": "PORT", "stream": "STREAM_PORT", "worker": "HEALTH_PORT"}
    for deployment in of_kind(documents, "Deployment"):
        container = container_of(deployment)
        assert container["envFrom"] == [{"configMapRef": {"name": name_of(settings)}}]
        (port,) = container["ports"]
        setting = settings["data"][f"CONTROLLER_{key[container['name']]}"]
        assert int(setting) == port["containerPort"]


def test_every_process_is_probed(documents: list[Document]) -> None:
    deployments = of_kind(documents, "Deployment")
    assert {container_of(d)["name"] for d in deployments} == COMPONENTS
    for deployment in deployments:
        container = container_of(deployment)
        assert container["command"] == ["controller"]
        assert container["args"] == [container["name"]]
        for probe, path in (("startup", "livez"), ("liveness", "livez"), ("readiness", "readyz")):
            assert container[f"{probe}Probe"]["httpGet"] == {"path": f"/{path}", "port": "http"}


def test_the_migration_runs_before_the_new_processes(documents: list[Document]) -> None:
    for job in of_kind(documents, "Job"):
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        container = container_of(job)
        assert (container["command"], container["args"]) == (["controller"], ["migrate"])
        assert "envFrom" not in container  # the ConfigMap comes after the hook


def test_a_changed_setting_restarts_the_pods(helm: Helm) -> None:
    def checksums(values: dict[str, Any]) -> set[str]:
        deployments = of_kind(helm.documents(values), "Deployment")
        return {pod_of(d)["metadata"]["annotations"]["checksum/config"] for d in deployments}

    before, after = checksums({}), checksums({"web.workers": 3})
    assert len(before) == len(after) == 1
    assert before != after


def test_the_chart_installs_the_version_beside_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == project["version"]


def test_the_image_starts_what_the_chart_asks_for() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["controller"]' in dockerfile
    assert "USER 10001:10001" in dockerfile
    assert all(
        path in dockerfile for path in ("requirements.lock", "--require-hashes", "--no-deps")
    )
    kept = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    needed = {
        "controller",
        "migrations",
        "pyproject.toml",
        "requirements.lock",
        "README.md",
        "LICENSE",
    }
    assert needed <= kept
