"""What the API server refuses, in words for users."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mmrlhf.client.refusals import Place, refusal
from mmrlhf.errors import ClusterError
from mmrlhfctl.errors import exit_code

PLACE = Place(server="https://k8s.test", context="prod", user="jane")


def refused(code: int, message: str = "", **more: Any) -> ClusterError:
    body = json.dumps({"kind": "Status", "message": message, "code": code, **more})
    return refusal(code, body, place=PLACE)


def causes(*entries: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "details": {
            "name": "digits",
            "causes": [
                {"reason": reason, "field": field, "message": message}
                for reason, field, message in entries
            ],
        }
    }


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            refused(401, "Unauthorized", reason="Unauthorized"),
            5,
            "the cluster at https://k8s.test (context prod) refuses the credentials of user jane",
        ),
        (
            refused(
                403,
                'mmdpojobs.mmrlhf.io is forbidden: User "jane" cannot list resource "mmdpojobs" in '
                'API group "mmrlhf.io" in the namespace "vision"',
            ),
            5,
            "user jane may not list mmdpojobs.mmrlhf.io in namespace vision; ask for a role",
        ),
        (
            refused(
                403,
                'pods "x" is forbidden: User "jane" cannot get resource "pods/log" in API group "" '
                'in the namespace "vision"',
            ),
            5,
            "user jane may not get pods/log in namespace vision",
        ),
        (
            refused(
                403, 'nodes is forbidden: User "j" cannot list resource "nodes" in API group ""'
            ),
            5,
            "user j may not list nodes in the whole cluster",
        ),
        (
            refused(403, "exceeded quota: jobs, requested: 1, used: 5, limited: 5"),
            5,
            "the cluster forbids that: exceeded quota: jobs",
        ),
        (
            refused(404, 'mmdpojobs.mmrlhf.io "x" not found', details={"name": "x"}),
            3,
            'mmdpojobs.mmrlhf.io "x" not found',
        ),
        (
            refused(404, "", details={"name": "moon", "kind": "namespaces"}),
            3,
            "there is no namespace moon",
        ),
        (
            refusal(404, "404 page not found\n", place=PLACE),
            5,
            "does not know the kinds of mmrlhf.io/v1alpha1: install mmrlhf",
        ),
        (refused(409, "the object has been modified", reason="Conflict"), 2, "try again"),
        (refused(422, "too bad"), 2, "the cluster rejects this: too bad"),
        (
            refused(
                400,
                'MMDPOJob in version "v1alpha1" cannot be handled as a MMDPOJob: strict decoding'
                ' error: unknown field "spec.optimizer.learningRat"',
                reason="BadRequest",
            ),
            2,
            'unknown field "spec.optimizer.learningRat"',
        ),
        (
            refused(
                422,
                "mmdpojobs.mmrlhf.io \"digits\" is forbidden: ValidatingAdmissionPolicy 'small'"
                " with binding 'small' denied request: at most 2 nodes",
                reason="Invalid",
                details={"name": "digits", "causes": [{"message": "ValidatingAdmissionPolicy"}]},
            ),
            2,
            "denied request: at most 2 nodes",
        ),
        (refused(500, "etcd is sad"), 5, "has a problem (HTTP 500): etcd is sad"),
        (refusal(502, "<html>bad gateway</html>", place=PLACE), 5, "HTTP 502"),
        (refusal(400, '{"kind": 3}', place=PLACE), 2, "rejects"),
    ],
)
def test_a_refusal_is_one_clear_line(error: ClusterError, code: int, text: str) -> None:
    assert len(error.lines) == 1
    assert "\n" not in error.lines[0]
    assert text in error.lines[0]
    assert exit_code(error) == code


def test_a_conflict_names_the_fields_and_who_set_them() -> None:
    error = refused(
        409,
        "Apply failed with 1 conflict",
        reason="Conflict",
        **causes(
            (
                "FieldManagerConflict",
                ".spec.runPolicy.suspend",
                'conflict with "mmrlhfctl-suspend" using mmrlhf.io/v1alpha1',
            )
        ),
    )
    assert exit_code(error) == 2
    assert error.lines[0] == (
        "spec.runPolicy.suspend: was set by mmrlhfctl-suspend to another value"
    )
    assert "--force-conflicts" in error.lines[1]


def test_every_invalid_field_gets_a_line() -> None:
    error = refused(
        422,
        "is invalid: a lot of text",
        reason="Invalid",
        **causes(
            ("FieldValueInvalid", "spec.training.epochs", "must be at least 1"),
            ("FieldValueRequired", "spec.model", "Required value"),
        ),
    )
    assert error.lines == (
        "rejected by the cluster: spec.training.epochs: must be at least 1",
        "rejected by the cluster: spec.model: Required value",
    )


@pytest.mark.parametrize(
    ("reason", "field", "message"),
    [
        (  # a rule, from 1.25 on
            "FieldValueInvalid",
            "spec.reward",
            'Invalid value: "object": give exactly one of scoresUri, modelUri and jobName',
        ),
        (  # the schema, before and after
            "FieldValueInvalid",
            "spec.training.epochs",
            "Invalid value: 0: spec.training.epochs in body should be greater than or equal to 1",
        ),
        (
            "FieldValueNotSupported",
            "spec.objective.pairs",
            'Unsupported value: "some": supported values: "all", "hardest", "extremes"',
        ),
    ],
)
def test_words_of_old_and_new_servers_keep_field_and_sentence(
    reason: str, field: str, message: str
) -> None:
    error = refused(422, "is invalid", reason="Invalid", **causes((reason, field, message)))
    assert error.lines == (f"rejected by the cluster: {field}: {message}",)
