"""What the pods of the current attempt say: images, volumes, missing objects, gates, nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mmrlhf.client.times import parse_time
from mmrlhfctl.diagnosis.advice import ADVICE
from mmrlhfctl.diagnosis.answers import Cause, Certainty, Evidence, Topic
from mmrlhfctl.diagnosis.facts import Facts, Manifest, Pod, condition, how_it_ended, says, words
from mmrlhfctl.diagnosis.words import CONTAINERS, IMAGES, VOLUMES, read_words

__all__ = ["claim_names", "pod_causes", "unwell_claims"]

_IMAGE: Final = frozenset(
    {
        *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"),
        *("ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"),
    }
)
_ON_ITS_WAY: Final = frozenset({"ContainerCreating", "PodInitializing", ""})
_MOUNT: Final = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
_SANDBOX: Final = ("FailedCreatePodSandBox",)
_SLOW_SECONDS: Final = 60.0
_SINGLE: Final = {"ReadWriteOnce": "node", "ReadWriteOncePod": "pod"}
_SLEEPING: Final = ("Pending", "Lost")


def pod_causes(facts: Facts) -> Iterator[Cause]:
    """Yield what keeps the pods of the current attempt from running."""
    yield from _claims(facts)
    for pod in facts.attempt:
        if pod.view.ended:
            yield from _ended(pod)
            continue
        yield from _gates(pod)
        yield from _unready(pod)
        if pod.view.node and not pod.view.started:
            yield from _beginning(facts, pod)


def claim_names(pod: Pod) -> tuple[str, ...]:
    """Return the PersistentVolumeClaims that a pod names."""
    return tuple(
        str(volume["persistentVolumeClaim"]["claimName"])
        for volume in pod.spec.get("volumes") or ()
        if volume.get("persistentVolumeClaim")
    )


def unwell_claims(facts: Facts) -> tuple[str, ...]:
    """Return the claims of the pods that are not there, or have no volume."""
    return tuple(
        name
        for name, claim in facts.claims.items()
        if claim is None or (claim.get("status") or {}).get("phase") in _SLEEPING
    )


def _gates(pod: Pod) -> Iterator[Cause]:
    if pod.gates:
        names = ", ".join(pod.gates)
        yield Cause(
            topic=Topic.GATE,
            certainty=Certainty.CERTAIN,
            text=f"scheduling gates hold the pods back: {names}",
            fix="see that who sets the gates runs, such as a queueing system's controller",
            section="Queued",
            evidence=(Evidence(thing=pod.thing, text=f"spec.schedulingGates: {names}"),),
        )


def _ended(pod: Pod) -> Iterator[Cause]:
    """A pod that has failed, while the job goes on: the operator is about to judge it."""
    evidence = tuple(how_it_ended(pod))
    if evidence and (pod.view.exit_code or pod.status.get("phase") == "Failed"):
        yield Cause(
            topic=Topic.CONTAINER,
            certainty=Certainty.LIKELY,
            text="a pod of the current attempt has failed: the operator waits for how the others"
            " end, and then restarts the job or lets it fail",
            fix="wait a minute and ask again",
            section="ApplicationError",
            evidence=evidence,
        )


def _unready(pod: Pod) -> Iterator[Cause]:
    """A pod that runs and is not ready for another reason than a container beside the job's.

    The job's has no probes: then the control plane has not heard of the node (kubernetes,
    pkg/controller/util/node/controller_utils.go: MarkPodsNotReady).
    """
    ready = condition(pod.body, "Ready")
    beside = ready.get("reason") == "ContainersNotReady"
    if "running" in _job_state(pod) and ready.get("status") == "False" and not beside:
        yield Cause(
            topic=Topic.NODE,
            certainty=Certainty.LIKELY,
            text=f"node {pod.view.node} does not answer: a pod runs there and is not ready",
            fix="mend the node; the operator moves the job once the node is lost",
            section="NodeLost",
            evidence=(says(pod.thing, ready),),
        )


def _job_state(pod: Pod) -> Manifest:
    return pod.view.containers.get(pod.view.container) or {}


def _beginning(facts: Facts, pod: Pod) -> Iterator[Cause]:
    """Why a pod that has a node does not run its job yet."""
    told = False
    for container, waiting in _waiting(pod):
        reason = str(waiting.get("reason") or "")
        if reason in _ON_ITS_WAY:
            continue
        told = True
        said = f"{reason}: {words(waiting.get('message'))}".rstrip(": ")
        evidence = (Evidence(thing=f"{pod.thing} ({container})", text=said),)
        if reason in _IMAGE:
            yield _image(facts, pod, said, _image_of(pod, container), evidence)
        else:
            yield _container(reason, said, evidence)
    mounts = facts.latest(pod, *_MOUNT)
    if not told and mounts:
        told = True
        yield _volume(mounts)
    sandbox = facts.latest(pod, *_SANDBOX)
    if not told and sandbox:
        told = True
        yield Cause(
            topic=Topic.NETWORK,
            certainty=Certainty.LIKELY,
            text="a node cannot set up the network of a pod",
            fix="see the node's network plugin, and its kubelet's log",
            section="WaitingForPods",
            evidence=sandbox,
        )
    node = next((one for one in facts.nodes or () if one.name == pod.view.node), None)
    if node is not None and not node.ready:
        yield Cause(
            topic=Topic.NODE,
            certainty=Certainty.CERTAIN,
            text=f"node {node.name}, which a pod is bound to, is not ready",
            fix="mend the node; the operator moves the job once the node is lost",
            section="NodeLost",
            evidence=(Evidence(thing=f"node/{node.name}", text="Ready is not True"),),
        )
    elif not told:
        yield _starting(facts, pod)


def _starting(facts: Facts, pod: Pod) -> Cause:
    pulling = facts.latest(pod, "Pulling")
    begun = parse_time(pod.status.get("startTime")) or pod.view.created
    silent = begun is not None and (facts.now - begun).total_seconds() > _SLOW_SECONDS
    section = "PullingImage" if pulling else "WaitingForPods"
    return Cause(
        topic=Topic.STARTING,
        certainty=Certainty.LIKELY if pulling else Certainty.POSSIBLE,
        text="a node pulls the image" if pulling else "a node starts the containers of a pod",
        fix=ADVICE[section]
        if pulling or not silent
        else "wait; if nothing comes, look at the node: its kubelet says nothing",
        section=section,
        evidence=pulling
        or (Evidence(thing=pod.thing, text=f"{pod.view.state} on {pod.view.node}", seen=begun),),
    )


def _image(facts: Facts, pod: Pod, said: str, image: str, evidence: tuple[Evidence, ...]) -> Cause:
    failed = facts.latest(pod, "Failed", "InspectFailed", "ErrImageNeverPull")
    read = read_words(" ".join([said, *(one.text for one in failed)]), IMAGES)
    text = f"image {image} cannot be pulled"
    return Cause(
        topic=Topic.IMAGE,
        certainty=Certainty.CERTAIN,
        text=text if read is None else f"{text}: {read.text}",
        fix=ADVICE["ImagePullFailed"] if read is None else read.fix,
        section="ImagePullFailed",
        evidence=evidence + failed,
    )


def _container(reason: str, said: str, evidence: tuple[Evidence, ...]) -> Cause:
    read = read_words(said, CONTAINERS)
    if read is None:
        return Cause(
            topic=Topic.CONTAINER,
            certainty=Certainty.CERTAIN,
            text=f"a container cannot start: {said}",
            fix=ADVICE["ConfigError"],
            section="ApplicationError" if reason == "CrashLoopBackOff" else "ConfigError",
            evidence=evidence,
        )
    return read.cause(Certainty.CERTAIN, section="ConfigError", evidence=evidence)


def _volume(evidence: tuple[Evidence, ...]) -> Cause:
    read = read_words(evidence[0].text, VOLUMES)
    assert read is not None  # the last row takes whatever speaks of a volume, as the reason does
    return read.cause(Certainty.LIKELY, section="WaitingForPods", evidence=evidence)


def _claims(facts: Facts) -> Iterator[Cause]:
    """Claims that are not there, without a volume, or for one node while pods are on several."""
    for name, claim in facts.claims.items():
        thing = f"pvc/{name}"
        if claim is None:
            yield _claim(
                f"PersistentVolumeClaim {name} is not there",
                "create it in the job's namespace, or have the node pool changed",
                Evidence(thing=thing, text="not found"),
            )
            continue
        phase = str((claim.get("status") or {}).get("phase") or "")
        if phase in _SLEEPING:
            yield from _unbound(facts, name, claim, phase)
        modes = (claim.get("spec") or {}).get("accessModes") or []
        if facts.job.nodes > 1 and modes and all(mode in _SINGLE for mode in modes):
            where = _SINGLE[modes[0]]
            yield _claim(
                f"PersistentVolumeClaim {name} is for one {where} at a time, and the job has"
                f" {facts.job.nodes} pods",
                "use a claim with access mode ReadWriteMany or ReadOnlyMany",
                Evidence(thing=thing, text=f"spec.accessModes: {', '.join(modes)}"),
                certainty=Certainty.CERTAIN if where == "pod" else Certainty.LIKELY,
            )


def _unbound(facts: Facts, name: str, claim: Manifest, phase: str) -> Iterator[Cause]:
    events = [Evidence.of_event(one) for one in facts.events_of("PersistentVolumeClaim", name)[:1]]
    if any(one.text.startswith("WaitForFirstConsumer") for one in events):
        return  # it waits for the scheduler, not the scheduler for it
    storage = (claim.get("spec") or {}).get("storageClassName")
    lost = phase == "Lost"
    yield _claim(
        f"PersistentVolumeClaim {name} " + ("has lost its volume" if lost else "has no volume yet"),
        "restore the volume, or make the claim anew"
        if lost
        else f"see that storage class {storage or '(none)'} makes volumes, or make one",
        Evidence(thing=f"pvc/{name}", text=f"status.phase: {phase}"),
        *events,
    )


def _claim(
    text: str, fix: str, *evidence: Evidence, certainty: Certainty = Certainty.CERTAIN
) -> Cause:
    return Cause(
        topic=Topic.VOLUME,
        certainty=certainty,
        text=text,
        fix=fix,
        section="WaitingForPods",
        evidence=evidence,
    )


def _waiting(pod: Pod) -> Iterator[tuple[str, Manifest]]:
    for statuses in ("initContainerStatuses", "containerStatuses"):
        for entry in pod.status.get(statuses) or ():
            waiting: Any = (entry.get("state") or {}).get("waiting")
            if waiting:
                yield str(entry.get("name")), waiting


def _image_of(pod: Pod, container: str) -> str:
    for group in ("initContainers", "containers"):
        for entry in pod.spec.get(group) or ():
            if entry.get("name") == container:
                return str(entry.get("image") or "(none)")
    return "(none)"
