"""Installing the operator, as docs/install.md says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mmrlhf_api.generate import main as generate_crds
from tests.cluster import layout
from tests.cluster.access import Access

NAMESPACE = "mmrlhf-system"
SELECTOR = "app.kubernetes.io/name=mmrlhf-operator"


def install(cluster: Access, folder: Path, *, image: str, config: Mapping[str, Any]) -> None:
    """Apply the CRDs and a kustomization on top of ``deploy/cluster``, and wait for it.

    Args:
        cluster: Where to.
        folder: Of the kustomization.
        image: Of the operator.
        config: Of the operator.
    """
    crds = layout.REPOSITORY / "crds"
    if not cluster.knows_rules:
        crds = folder / "crds"
        assert generate_crds(["--without-cel", f"--output-dir={crds}"]) == 0
    cluster.kubectl("apply", "--server-side", f"--filename={crds}")
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", f"--filename={crds}")
    name, _, tag = image.rpartition(":")
    base = os.path.relpath(layout.REPOSITORY / "deploy/cluster", folder)
    kustomization = {
        "resources": [base],
        "images": [{"name": "mmrlhf/operator", "newName": name, "newTag": tag}],
        "configMapGenerator": [
            {
                "name": "mmrlhf-operator-config",
                "namespace": NAMESPACE,
                "behavior": "replace",
                "files": ["config.yaml"],
            }
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config)))
    cluster.kubectl("apply", "--kustomize", str(folder))
    cluster.kubectl(
        *("rollout", "status", "deployment/mmrlhf-operator"),
        *(f"--namespace={NAMESPACE}", "--timeout=120s"),
    )


def leader(cluster: Access) -> str:
    """The pod of the operator that works."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/mmrlhf-operator"
    holder: str = cluster.api.get(path)["spec"]["holderIdentity"]
    return holder.partition("_")[0]
