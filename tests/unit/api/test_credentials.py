"""What looks like a credential is refused in plain text, and not repeated."""

from __future__ import annotations

import pytest

from mmrlhf_api.credentials import hide_passwords
from mmrlhf_api.errors import JobFileError
from mmrlhf_api.jobfile import parse_job
from tests.unit.api.specimens import changed


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN",
        "WANDB_API_KEY", "OPENAI_API_KEY", "GITHUB_TOKEN", "HF_HUB_TOKEN", "AZURE_STORAGE_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS_JSON", "MLFLOW_TRACKING_PASSWORD", "aws_secret_access_key",
        "ANTHROPIC_API_KEY_2", "DB_PASS", "PGPASSWORD", "SLACK_CLIENT_SECRET", "APIKEY", "Token",
        "AZURE_STORAGE_CONNECTION_STRING", "COMET_APIKEY", "TOKEN1", "SSH_PRIVATE_KEY", "BLOB_SAS",
        "PAD_TOKEN_SECRET", "CACHE_API_KEY", "HF_IMPLICIT_TOKEN", "OPENAI_API_KEYS", "GH_PAT",
        "HFTOKEN", "githubToken", "ACCESSTOKEN", "APP_SECRETS", "DB_PASSWORDS", "SESSION_JWT",
        "PRIVATE_KEY_PEM", "GCP_KEY_B64", "TLS_PRIVATE_KEY_BASE64", "SLACK_WEBHOOK_URL",
        "SESSION_COOKIE", "API_KEYS_2",
    ],
)  # fmt: skip
def test_names_of_secrets_take_no_plain_value(name: str) -> None:
    with pytest.raises(JobFileError) as caught:
        parse_job(changed(podTemplate__env=[{"name": name, "value": "plain-value"}]), source="x")
    assert "use secretKeyRef" in str(caught.value)
    assert "plain-value" not in str(caught.value)
    secret = {"name": name, "secretKeyRef": {"name": "s", "key": "k"}}
    parse_job(changed(podTemplate__env=[secret]), source="x")


@pytest.mark.parametrize(
    "name",
    [
        "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_PROFILE", "HF_ENDPOINT", "NCCL_SOCKET_IFNAME",
        "TOKENIZERS_PARALLELISM", "MAX_TOKENS", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "KEYBOARD", "PWD",
        "GOOGLE_APPLICATION_CREDENTIALS", "HF_TOKEN_PATH", "PASSES", "MONKEY", "BYPASS",
        "PAD_TOKEN", "MY_EOS_TOKEN", "CACHE_KEY", "SSH_PUBLIC_KEY", "image_token", "SORT_KEYS",
        "SSH_PUBLIC_KEY_PEM", "PATH", "LD_LIBRARY_PATH", "MAX_NEW_TOKENS", "IGNORE_KEYS", "COMPAT",
    ],
)  # fmt: skip
def test_other_names_do(name: str) -> None:
    parse_job(changed(podTemplate__env=[{"name": name, "value": "1"}]), source="x")


@pytest.mark.parametrize(
    "changes",
    [
        {"podTemplate__env": [{"name": "HTTPS_PROXY", "value": "http://me:hunter2@proxy:80"}]},
        {"podTemplate__env": [{"name": "DB", "value": "a=postgres://me:hunter2@db/x"}]},
        {"podTemplate__env": [{"name": "N", "value": {"a": "hunter2"}}]},
        {"podTemplate__env": [{"name": "P", "value": "http://me%3ahunter2@proxy:80"}]},
        {"podTemplate__env": [{"name": "P", "value": "http://me:a@hunter2@proxy:80"}]},
        {"model__uri": "https://me:a@hunter2@hub.example.org/m"},
        {"model__uri": "https://me%3Ahunter2@hub.example.org/m"},
        {"model__uri": "https://me:hunter2@hub.example.org/m"},
        {"model__uri": "s3://me:hunter2@bucket/m"},
        {"artifacts__uri": "file://me:hunter2@host/a"},
        {"data__train__uri": "hdfs://:hunter2@host/a"},
        {"artifacts": {"uri": "s3://b/a", "endpoint": "https://me:hunter2@s3.example.org"}},
    ],
)
def test_user_and_password_are_refused_and_not_repeated(changes: dict[str, object]) -> None:
    with pytest.raises(JobFileError) as caught:
        parse_job(changed(**changes), source="x")
    assert "hunter2" not in str(caught.value)


SECRETS = (
    "hf_" + "aB3" * 12,
    "ghp_" + "aB3" * 12,
    "github_pat_" + "aB3_" * 12,
    "glpat-" + "aB3-" * 6,
    "sk-proj-" + "aB3_" * 12,
    "xoxb-123456789-abcdef",
    "AIza" + "aB3_-" * 7,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----",
)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "--auth={}", "https://{}@host/x"])
def test_values_that_are_secrets_by_their_form_are_refused(secret: str, around: str) -> None:
    value = around.format(secret)
    with pytest.raises(JobFileError) as caught:
        parse_job(changed(podTemplate__env=[{"name": "ARGS", "value": value}]), source="x")
    assert "use secretKeyRef" in str(caught.value)
    assert secret not in str(caught.value)
    assert secret not in hide_passwords(f"a {value} b")
    parse_job(
        changed(podTemplate__env=[{"name": "ARGS", "value": value}]), source="x", accepted=True
    )


@pytest.mark.parametrize(
    "value",
    ["hf_transfer", "sk-learn", "mask-" + "a" * 40, "AKIAIOSFODNN7EXAMPLE", "eyJ.eyJ.x", "a" * 64],
)
def test_other_values_stay(value: str) -> None:
    parse_job(changed(podTemplate__env=[{"name": "ARGS", "value": value}]), source="x")
    assert hide_passwords(value) == value


@pytest.mark.parametrize("name", ["A", "PROXY"])
@pytest.mark.parametrize("value", ["http://proxy:80/a@b", "a:b@c", "https://host:8080", "git@x:y"])
def test_other_addresses_stay(name: str, value: str) -> None:
    parse_job(changed(podTemplate__env=[{"name": name, "value": value}]), source="x")
    assert hide_passwords(value) == value


def test_a_number_that_should_be_a_string_may_be_a_secret() -> None:
    body = changed(podTemplate__env=[{"name": "PIN", "value": 4711}])
    with pytest.raises(JobFileError) as caught:
        parse_job(body, source="x")
    assert "must be a string" in str(caught.value)
    assert "4711" not in str(caught.value)
