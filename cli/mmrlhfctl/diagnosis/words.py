"""What a cluster says when it refuses something, read: who refuses, and what to do about it.

Sentences are those of Kubernetes 1.20 to 1.36; paths of the sources are those of
kubernetes/kubernetes. What no row knows is told as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mmrlhfctl.diagnosis.answers import Cause, Certainty, Evidence, Topic

__all__ = ["CONTAINERS", "IMAGES", "REFUSALS", "VOLUMES", "Reading", "Saying", "read_words"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What words mean."""

    topic: Topic
    text: str
    fix: str

    def cause(self, certainty: Certainty, *, section: str, evidence: tuple[Evidence, ...]) -> Cause:
        """The same as a cause; see `Cause`."""
        return Cause(
            topic=self.topic,
            certainty=certainty,
            text=self.text,
            fix=self.fix,
            section=section,
            evidence=evidence,
        )


@dataclass(frozen=True, kw_only=True)
class Saying:
    """One row: words fit where the pattern is within them; its groups fill text and fix.

    Attributes:
        pattern: What the words have.
        topic: What they are about.
        text: What they mean.
        fix: What to do.
    """

    pattern: str
    topic: Topic
    text: str
    fix: str

    def read(self, words: str) -> Reading | None:
        """Return what words mean; None where they do not fit."""
        match = re.search(self.pattern, words, re.DOTALL)
        if match is None:
            return None
        groups = {name: value or "" for name, value in match.groupdict().items()}
        return Reading(
            topic=self.topic, text=self.text.format(**groups), fix=self.fix.format(**groups)
        )


def read_words(words: str, sayings: Sequence[Saying]) -> Reading | None:
    """Return what words mean by the first row that fits; None where none does."""
    return next((found for one in sayings if (found := one.read(words)) is not None), None)


REFUSALS: Final = (
    Saying(  # staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go
        pattern=r"exceeded quota: (?P<name>[^,\s]+), requested: (?P<asked>.+?), used:"
        r" (?P<used>.+?), limited: (?P<limit>\S+)",
        topic=Topic.QUOTA,
        text="ResourceQuota {name} is used up: a pod asks for {asked}, in use are {used} of"
        " {limit}",
        fix="end something else in the namespace, have quota {name} raised, or ask for less",
    ),
    Saying(
        pattern=r"failed quota: (?P<name>[^:\s]+): must specify (?P<what>\S+(?:, ?\S+)*)",
        topic=Topic.QUOTA,
        text="ResourceQuota {name} takes only pods that say {what}",
        fix="set spec.resources, or a LimitRange with defaults",
    ),
    Saying(  # plugin/pkg/admission/limitranger/admission.go
        pattern=r"(?P<which>maximum|minimum) (?P<what>\S+) usage per (?P<per>\w+) is"
        r" (?P<limit>\S+?), but (?P<asked>request|limit) is (?P<amount>[^\s,\]]+)",
        topic=Topic.LIMIT,
        text="a LimitRange of the namespace allows a {which} of {limit} {what} per {per}; the"
        " {asked} is {amount}",
        fix="submit with spec.resources within it, or have the LimitRange changed",
    ),
    Saying(  # plugin/pkg/admission/serviceaccount/admission.go
        pattern=r"error looking up service account (?P<namespace>[^/\s]+)/(?P<name>[^:\s]+):",
        topic=Topic.SERVICE_ACCOUNT,
        text="there is no ServiceAccount {name} in namespace {namespace}",
        fix="kubectl create serviceaccount {name} -n {namespace}, or another serviceAccountName",
    ),
    Saying(
        pattern=r"no PriorityClass with name (?P<name>\S+) was found",
        topic=Topic.REFUSED,
        text="there is no PriorityClass {name}",
        fix="create it, or submit with another spec.scheduling.priorityClass",
    ),
    Saying(
        pattern=r'RuntimeClass(?:\.node\.k8s\.io)? "(?P<name>[^"]+)" not found',
        topic=Topic.REFUSED,
        text="there is no RuntimeClass {name}, which the node pool names",
        fix="create it, or have the node pool changed in the operator's configuration",
    ),
    Saying(  # staging/src/k8s.io/pod-security-admission/admission/admission.go
        pattern=r'violates PodSecurity "(?P<level>[^"]+)": (?P<what>.+)',
        topic=Topic.POLICY,
        text="the namespace's Pod Security level {level} refuses the pods: {what}",
        fix="take that out of the job or its node pool, or have the namespace's level lowered",
    ),
    Saying(  # staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/validating
        pattern=r"ValidatingAdmissionPolicy '(?P<name>[^']+)' with binding '[^']*' denied"
        r" request: (?P<what>.+)",
        topic=Topic.POLICY,
        text="ValidatingAdmissionPolicy {name} refuses it: {what}",
        fix="meet what the policy asks for, or ask its owner for an exception",
    ),
    Saying(  # staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/errors/statuserror.go
        pattern=r'admission webhook "(?P<name>[^"]+)" denied the request'
        r"(?:: (?P<what>.+)| without)",
        topic=Topic.POLICY,
        text="admission webhook {name} refuses it: {what}",
        fix="meet what it asks for, or ask whoever runs {name}",
    ),
    Saying(
        pattern=r'failed calling webhook "(?P<name>[^"]+)": (?P<what>.+)',
        topic=Topic.WEBHOOK,
        text="admission webhook {name} does not answer, and so nothing is created: {what}",
        fix="see the pods behind the webhook; whoever runs it can mend or remove it",
    ),
    Saying(
        pattern=r"unable to create new content in namespace (?P<name>\S+) because it is being"
        r" terminated",
        topic=Topic.REFUSED,
        text="namespace {name} is being deleted",
        fix="submit the job in another namespace",
    ),
    Saying(
        pattern=r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<what>[^"]+)"',
        topic=Topic.RIGHTS,
        text="the operator ({user}) may not {verb} {what} here",
        fix="apply the installation of the operator's version as a whole again",
    ),
)
"""Refusals of the API server and what admits objects there, the most exact first."""

IMAGES: Final = (
    Saying(
        pattern=r"(?i)not found|manifest unknown|name unknown|does not exist(?! or may require)",
        topic=Topic.IMAGE,
        text="the registry has no such image",
        fix="mend name and tag: delete the job and submit it with another spec.image",
    ),
    Saying(
        pattern=r"(?i)unauthorized|authentication required|denied|forbidden|\b40[13]\b"
        r"|may require (?:'docker login'|authorization)|no basic auth",
        topic=Topic.IMAGE,
        text="the registry refuses the credentials, or there are none",
        fix="name a Secret for the registry in podTemplate.imagePullSecrets",
    ),
    Saying(
        pattern=r"(?i)too ?many ?requests|\b429\b|rate limit",
        topic=Topic.IMAGE,
        text="the registry lets nobody pull so often",
        fix="wait, or pull with credentials, or from a mirror",
    ),
    Saying(
        pattern=r"(?i)x509|certificate",
        topic=Topic.IMAGE,
        text="the node does not trust the registry's certificate",
        fix="have the certificate's authority added on the nodes",
    ),
    Saying(
        pattern=r"(?i)no such host|i/o timeout|connection refused|deadline exceeded|unreachable"
        r"|server misbehaving|TLS handshake timeout",
        topic=Topic.IMAGE,
        text="the node does not reach the registry",
        fix="see the node's DNS, network and proxy, and that the registry answers",
    ),
    Saying(
        pattern=r"(?i)InvalidImageName|invalid reference format",
        topic=Topic.IMAGE,
        text="that is no name of an image",
        fix="delete the job and submit it with another spec.image",
    ),
    Saying(
        pattern=r"(?i)no space left|ephemeral-storage|disk",
        topic=Topic.IMAGE,
        text="the node has no room for the image",
        fix="have the node's disk cleared or enlarged",
    ),
)
"""Why an image cannot be pulled, in the words of container runtimes and registries."""

CONTAINERS: Final = (
    Saying(  # pkg/kubelet/kubelet_pods.go
        pattern=r"(?i)couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) (?P<name>\S+)",
        topic=Topic.MISSING,
        text="{kind} {name} lacks the key {key}",
        fix="add the key to the {kind}; the pods go on by themselves before the deadline",
    ),
    Saying(
        pattern=r'(?i)(?P<kind>secret|configmap|serviceaccount) "(?P<name>[^"]+)" not found',
        topic=Topic.MISSING,
        text="there is no {kind} {name} in the job's namespace",
        fix="create it there; the pods go on by themselves before the deadline",
    ),
    Saying(
        pattern=r"(?i)runAsNonRoot|run as root|non-numeric user",
        topic=Topic.CONTAINER,
        text="the image wants to run as root, which pods of jobs never do",
        fix="use an image with a numeric user, or have runAsUser set by the administrator",
    ),
    Saying(
        pattern=r"(?i)exec(?:utable file)?[^:]*not found|no such file or directory|exec format",
        topic=Topic.CONTAINER,
        text="the image does not hold the program that jobs run, or is for another processor",
        fix="use an image that is built from the project's own",
    ),
)
"""Why a container is not started, in the words of the kubelet."""

VOLUMES: Final = (
    *CONTAINERS[:2],
    Saying(
        pattern=r"Multi-Attach error for volume \"(?P<name>[^\"]+)\"(?P<rest>.*)",
        topic=Topic.VOLUME,
        text="volume {name} is attached to another node, and to one at a time only",
        fix="use a volume with access mode ReadWriteMany or ReadOnlyMany, or one node",
    ),
    Saying(
        pattern=r'persistentvolumeclaim "(?P<name>[^"]+)" (?:not found|is being deleted)',
        topic=Topic.VOLUME,
        text="PersistentVolumeClaim {name} is not there, or is being deleted",
        fix="create it in the job's namespace, or have the node pool changed",
    ),
    Saying(
        pattern=r'persistentvolumeclaim "(?P<name>[^"]+)" bound to non-existent',
        topic=Topic.VOLUME,
        text="PersistentVolumeClaim {name} has lost its volume",
        fix="restore the volume, or make the claim anew",
    ),
    Saying(
        pattern=r"unbound immediate PersistentVolumeClaims",
        topic=Topic.VOLUME,
        text="a PersistentVolumeClaim of the pods has no volume yet",
        fix="see its events: kubectl describe pvc",
    ),
    Saying(
        pattern=r"volume node affinity conflict|no available volume zone",
        topic=Topic.VOLUME,
        text="a volume of the pods is where none of the fitting nodes is",
        fix="use nodes in the volume's zone, or a volume in theirs",
    ),
    Saying(
        pattern=r"(?i)mount|attach|volume",
        topic=Topic.VOLUME,
        text="a volume of a pod cannot be mounted",
        fix="see the words of the kubelet, and kubectl describe pvc",
    ),
)
"""Why a volume is not there, in the words of scheduler, kubelet and attach controller."""
