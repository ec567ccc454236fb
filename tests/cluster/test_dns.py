"""Which names a cluster's objects stand for."""

from __future__ import annotations

from typing import Any

from tests.cluster.dns import hosts

Manifest = dict[str, Any]


def _named(name: str, **more: Any) -> Manifest:
    return {"metadata": {"namespace": "team", "name": name}, **more}


def test_service_with_an_address() -> None:
    service = _named("web", spec={"clusterIP": "10.96.0.7"})
    endpoints = _named("web", subsets=[{"addresses": [{"ip": "10.201.0.2"}]}])
    assert hosts([service], [endpoints]) == "10.96.0.7 web.team.svc.cluster.local\n"


def test_headless_service_names_each_pod() -> None:
    service = _named("job", spec={"clusterIP": "None"})
    addresses = [{"ip": "10.201.0.2", "hostname": "job-0"}, {"ip": "10.201.0.3"}]
    unready = [{"ip": "10.201.0.4", "hostname": "job-2"}]
    subsets = [{"addresses": addresses, "notReadyAddresses": unready}]
    assert hosts([service], [_named("job", subsets=subsets)]) == (
        "10.201.0.2 job-0.job.team.svc.cluster.local job.team.svc.cluster.local\n"
        "10.201.0.3 10-201-0-3.job.team.svc.cluster.local job.team.svc.cluster.local\n"
    )


def test_external_name_and_empty_endpoints_have_no_address() -> None:
    service = _named("elsewhere", spec={"type": "ExternalName", "externalName": "example.com"})
    assert hosts([service, _named("job", spec={"clusterIP": "None"})], [_named("job")]) == ""
