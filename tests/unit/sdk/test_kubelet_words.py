"""What a kubelet says instead of a log is an error, and no line of the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from mmrlhf.client.log_stream import read_log
from mmrlhf.client.views import PodView
from mmrlhf.errors import NotFoundError
from mmrlhf_api.constants import LABEL_ATTEMPT, LABEL_INDEX

WORDS = b"unable to retrieve container logs for containerd://0123"
TIME = b"2026-01-01T00:00:00.5Z "


class Server:
    """Answers with lines of a container, and then with what the kubelet says."""

    def __init__(self, lines: list[bytes], kubelet: bytes = b"") -> None:
        self.written = lines
        self.kubelet = kubelet

    def lines(self, path: str, *, query: Mapping[str, str]) -> Iterator[bytes]:
        timed = query["timestamps"] == "true"
        lines = self.written[-int(query["tailLines"]) :] if "tailLines" in query else self.written
        yield from (TIME + line if timed else line for line in lines)
        if self.kubelet:
            yield self.kubelet


def pod() -> PodView:
    view = PodView.read(
        {
            "metadata": {"name": "align-0-0", "labels": {LABEL_ATTEMPT: "0", LABEL_INDEX: "0"}},
            "spec": {
                "containers": [{"name": "job"}, {"name": "proxy"}],
                "initContainers": [{"name": "fetch"}],
            },
            "status": {
                "containerStatuses": [{"name": "job", "state": {"waiting": {}}}],
                "initContainerStatuses": [
                    {"name": "fetch", "state": {"terminated": {"exitCode": 0}}}
                ],
            },
        }
    )
    assert view is not None
    return view


def shown(server: Server, *, timestamps: bool) -> list[str]:
    lines = read_log(server, "vision", pod(), follow=False, timestamps=timestamps)  # type: ignore[arg-type]
    return [line.text for line in lines]


@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("before", [[], [b"one\n", b"two\n"]])
def test_words_of_the_kubelet_are_an_error(timestamps: bool, before: list[bytes]) -> None:
    with pytest.raises(
        NotFoundError, match="align-0-0: the kubelet cannot give the log of job: una"
    ):
        shown(Server(before, WORDS), timestamps=timestamps)


@pytest.mark.parametrize("timestamps", [True, False])
def test_a_job_may_write_the_same_words(timestamps: bool) -> None:
    lines = [b"one\n", WORDS + b"\n"]
    assert shown(Server(lines), timestamps=timestamps) == ["one", WORDS.decode()]


def test_other_containers_are_chosen_by_name() -> None:
    fetch = pod().with_container("fetch")
    assert (fetch.container, fetch.started, fetch.ended) == ("fetch", True, True)
    assert not pod().with_container(None).started
    assert not pod().with_container("proxy").started
    with pytest.raises(NotFoundError, match="no container web; it has job, proxy, fetch"):
        pod().with_container("web")
