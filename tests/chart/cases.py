"""The values and the Kubernetes versions that the chart is rendered with."""

from __future__ import annotations

from typing import Any

KUBE_VERSIONS = ("1.30", "1.33", "1.37")

EVERYTHING: dict[str, Any] = {
    "image": {
        "repository": "registry.example/rollout-controller",
        "digest": "sha256:" + "0123456789abcdef" * 4,
        "pullSecrets": [{"name": "registry"}],
    },
    "existingSecret": "models-secret",
    "secretKeys": {"databaseUrl": "postgres.url", "redisUrl": "redis.url", "secretKey": "key"},
    "web.autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 12},
    "service.annotations": {"example/owner": "models"},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "host": "rollouts.example",
        "tlsSecret": "rollouts-tls",
        "annotations": {"example/timeout": "3600"},
    },
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"example/edge": "true"}}}],
        "egress": {"enabled": True, "extra": [{"ports": [{"port": 443, "protocol": "TCP"}]}]},
    },
    "podAnnotations": {"example/team": "models"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "models", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}
                ]
            }
        }
    },
}

VALUES: dict[str, dict[str, Any]] = {
    "default": {},
    "everything": EVERYTHING,
    "smallest": {
        "web.replicas": 1,
        "stream.replicas": 1,
        "worker.replicas": 1,
        "migration.enabled": False,
        "podDisruptionBudget.enabled": False,
        "networkPolicy.enabled": False,
    },
    "autoscaling": {"web.autoscaling.enabled": True},
    "ingress without tls": {"ingress.enabled": True, "ingress.host": "rollouts.example"},
    "load balancer": {"service.type": "LoadBalancer", "service.port": 8443},
    "other ports": {"web.port": 18080, "stream.port": 18081, "worker.healthPort": 18082},
    "closed network": {"networkPolicy.egress.enabled": True},
    "another name": {"fullnameOverride": "models", "nameOverride": "rc"},
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"web.replicaz": 2}, "replicaz"),
    "no replica": ({"worker.replicas": 0}, "minimum"),
    "a privileged port": ({"web.port": 80}, "minimum"),
    "the tag latest": ({"image.tag": "latest"}, "tag"),
    "a short digest": ({"image.digest": "sha256:abc"}, "digest"),
    "more proxies than are read": ({"web.trustedProxies": 11}, "trustedProxies"),
    "proxies by another door": ({"config.CONTROLLER_TRUSTED_PROXIES": 1}, "TRUSTED_PROXIES"),
    "an ingress without a host": ({"ingress.enabled": True}, "host"),
    "a secret among the settings": ({"config.CONTROLLER_SECRET_KEY": "x"}, "CONTROLLER_SECRET_KEY"),
    "a foreign variable among the settings": ({"config.LD_PRELOAD": "x"}, "LD_PRELOAD"),
    "no secret": ({"existingSecret": ""}, "existingSecret"),
}
