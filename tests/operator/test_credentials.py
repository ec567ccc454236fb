"""An operator by kubeconfig, whose token the API server takes no more."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_operator.kube.transport import load_configuration
from mmrlhf_operator.operator import Operator
from tests.cluster.access import Access
from tests.cluster.api import Api
from tests.cluster.errors import ApiError
from tests.operator.accounts import installed_account
from tests.operator.driver import CONFIG, Driver, operating, until

pytestmark = pytest.mark.cluster

API_VERSION = "client.authentication.k8s.io/v1"
PLUGIN = """#!{python}
import json, pathlib
status = {{"token": pathlib.Path({file!r}).read_text()}}
print(json.dumps({{"apiVersion": {version!r}, "kind": "ExecCredential", "status": status}}))
"""


def by_file(file: Path) -> dict[str, Any]:
    return {"tokenFile": str(file)}


def by_plugin(file: Path) -> dict[str, Any]:
    program = file.with_name("plugin")
    program.write_text(PLUGIN.format(python=sys.executable, file=str(file), version=API_VERSION))
    program.chmod(stat.S_IRWXU)
    how = {"apiVersion": API_VERSION, "command": str(program), "interactiveMode": "Never"}
    return {"exec": how}


@pytest.mark.parametrize("user", [by_file, by_plugin], ids=["tokenFile", "exec"])
async def test_it_goes_on_with_the_token_that_is_there_now(
    user: Callable[[Path], dict[str, Any]],
    control_plane: Access,
    driver: Driver,
    kube_namespace: str,
    tmp_path: Path,
) -> None:
    api, file = control_plane.api, tmp_path / "token"
    with installed_account(api, kube_namespace, cluster=False) as tokens:
        first, second = (Token(api, kube_namespace, tokens, name) for name in ("first", "second"))
        file.write_text(first.text)
        configuration = await load_configuration(
            kubeconfig(control_plane.kubeconfig, tmp_path, user(file))
        )
        config = CONFIG.model_copy(update={"namespaces": (kube_namespace,), "watch_seconds": 2})
        async with operating(Operator(configuration, config)):
            driver.submit()
            await driver.pods_are("demo-0-0", "demo-0-1")
            file.write_text(second.text)
            first.revoke()
            await until(first.is_refused, what="a token that is refused", seconds=30)
            driver.submit(metadata__name="later")
            await driver.pods_are("demo-0-0", "demo-0-1", "later-0-0", "later-0-1")


class Token:
    """A token that is good for as long as its Secret is there."""

    def __init__(self, api: Api, namespace: str, tokens: str, name: str) -> None:
        self._admin = api
        self._secret = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        made = api.create(self._secret.rpartition("/")[0], {"metadata": {"name": name}})
        bound = {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": made["metadata"]["uid"]}
        asked = {"spec": {"boundObjectRef": bound}}
        self.text: str = api.create(tokens, asked)["status"]["token"]
        self._path = f"/api/v1/namespaces/{namespace}/pods"

    def revoke(self) -> None:
        self._admin.delete(self._secret)

    def is_refused(self) -> bool:
        """The API server remembers for ten seconds that it was good."""
        try:
            self._admin.with_token(self.text).get(self._path)
        except ApiError as error:
            return error.status == 401
        return False


def kubeconfig(administrator: Path, folder: Path, user: dict[str, Any]) -> Path:
    """The same cluster, by another user."""
    content = yaml.safe_load(administrator.read_text())
    content["users"] = [{"name": one["name"], "user": user} for one in content["users"]]
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path
