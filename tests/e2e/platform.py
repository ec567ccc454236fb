"""Installing the operator and removing it, as docs/install.md says."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmrlhf_operator.installation.__main__ import main as generate
from tests.cluster import layout
from tests.cluster.access import Access
from tests.cluster.errors import ApiError
from tests.helm.program import Release

NAMESPACE = "mmrlhf-system"
SELECTOR = "app.kubernetes.io/name=mmrlhf-operator"
BUNDLE = "install.yaml"


@dataclass(frozen=True)
class Platform:
    """The operator on a cluster.

    Attributes:
        cluster: Where.
        folder: With the file that is applied, and a kustomization for images and configuration.
        values: The same images and configuration, for the chart.
    """

    cluster: Access
    folder: Path
    values: Mapping[str, Any]

    @classmethod
    def prepare(
        cls, cluster: Access, folder: Path, *, image: str, config: Mapping[str, Any]
    ) -> Platform:
        """Fill the folder as a user does.

        Args:
            cluster: Where to install.
            folder: An empty one.
            image: Of the operator.
            config: Of the operator.
        """
        (folder / BUNDLE).write_text(_bundle(cel=cluster.knows_rules))
        name, _, tag = image.rpartition(":")
        kustomization = {
            "resources": [BUNDLE],
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
        values = {"image": {"repository": name, "tag": tag}, "config": dict(config)}
        return cls(cluster, folder, values)

    def apply(self) -> None:
        """Apply everything at once."""
        self.cluster.kubectl("apply", "--server-side", "--kustomize", str(self.folder))

    def install(self) -> None:
        """Apply everything at once, and wait until the operator runs."""
        self.apply()
        self._rolled_out()

    def install_chart(self) -> Release:
        """Let Helm install the operator for kinds that are there, and wait until it runs."""
        release = Release(self.cluster)
        release.take_over()
        release.install(self.values, create_namespace=True)
        self._rolled_out()
        return release

    def _rolled_out(self) -> None:
        self.cluster.kubectl(
            *("rollout", "status", "deployment/mmrlhf-operator"),
            *(f"--namespace={NAMESPACE}", "--timeout=600s"),
        )

    def remove_operator(self) -> None:
        """Delete the operator alone: kinds and jobs stay."""
        self.cluster.kubectl("delete", f"--filename={self.folder / BUNDLE}", "--selector", SELECTOR)

    def remove(self) -> None:
        """Delete everything that was applied."""
        self.cluster.kubectl(
            "delete", f"--filename={self.folder / BUNDLE}", "--ignore-not-found", "--timeout=600s"
        )


@functools.cache
def _bundle(*, cel: bool) -> str:
    """What installs everything; without rules it takes seconds to make."""
    if cel:
        return (layout.REPOSITORY / "deploy" / BUNDLE).read_text()
    with tempfile.TemporaryDirectory() as deploy:
        assert generate(["--without-cel", f"--output-dir={deploy}"]) == 0
        return Path(deploy, BUNDLE).read_text()


def traces(cluster: Access) -> list[str]:
    """All objects of a cluster that are ours by kind, name, label or owner, but Events: those
    expire by themselves."""
    return sorted(f"{kind}/{where}" for kind, where, told in _objects(cluster) if "mmrlhf" in told)


def _objects(cluster: Access) -> Iterator[tuple[str, str, str]]:
    """Every object that can be listed: its resource, where it is, and what it says of itself."""
    groups = cluster.api.get("/apis")["groups"]
    versions = [f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups]
    for path in ("/api/v1", *versions):
        try:
            resources = cluster.api.get(path)["resources"]
        except ApiError as error:
            if error.status != 404:  # the group of a kind that has just been deleted
                raise
            continue
        for resource in resources:
            if "list" not in resource["verbs"] or resource["kind"] == "Event":
                continue
            for item in cluster.api.get(f"{path}/{resource['name']}")["items"]:
                metadata = item["metadata"]
                where = "/".join([metadata.get("namespace", ""), metadata["name"]]).lstrip("/")
                belongs = [metadata.get("labels"), metadata.get("ownerReferences")]
                yield resource["name"], where, json.dumps([path, where, *belongs])


def leader(cluster: Access) -> str:
    """The pod of the operator that works."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/mmrlhf-operator"
    holder: str = cluster.api.get(path)["spec"]["holderIdentity"]
    return holder.partition("_")[0]
