"""What the pages tell a reader to write is understood: job files, configuration, command lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from mmrlhf_api import KINDS, ArtifactStore, parse_job
from mmrlhf_api.pipelines import RESOURCES, parse_pipeline
from mmrlhf_api.steps.safety import SafetyPlan
from mmrlhf_api.yamltree import Document
from mmrlhf_jobs.endpoints.settings import load_endpoints
from mmrlhf_jobs.evaluation.gate import GateRules
from mmrlhf_jobs.steps.command_line import parse_arguments
from mmrlhf_jobs.steps.registry import find_step, step_names
from mmrlhf_jobs.steps.runner import load_step
from mmrlhf_operator.config import OperatorConfig
from mmrlhfctl.app import app
from tests.helm.program import lint

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
END = set("|&;()<>")
OTHERS = {"argoproj.io", "kustomize.toolkit.fluxcd.io"}


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Name of the page and text of each block of a language."""
    block = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    for page in PAGES:
        for text in block.findall(page.read_text()):
            yield page.name, text


def command_lines() -> Iterator[tuple[str, str]]:
    """Arguments of each command line of mmrlhfctl, by page."""
    for page, text in blocks("sh"):
        for line in text.replace("\\\n", " ").splitlines():
            for match in re.finditer(r"(?:^|[(&|] ?)mmrlhfctl( .*)", line):
                yield page, match[1]


def step_lines() -> Iterator[tuple[str, str]]:
    """Arguments of each command line of a step, by page."""
    for page, text in blocks("sh"):
        for line in text.replace("\\\n", " ").splitlines():
            for match in re.finditer(r"-m mmrlhf_jobs ([^#]*)", line):
                if "..." not in match[1] and "--help" not in match[1]:
                    yield page, match[1].strip()


def mentions() -> Iterator[tuple[str, str]]:
    """Commands that are mentioned within a sentence, by page."""
    for page in PAGES:
        for match in re.finditer(r"`(?:mmrlhfctl|kubectl mmrlhf) ([^`]+)`", page.read_text()):
            yield page.name, match[1]


COMMANDS = sorted(set(command_lines()))
STEPS = sorted(set(step_lines()))
GROUP: Any = typer.main.get_command(app)


def test_there_are_examples() -> None:
    assert len({shlex.split(line)[0] for _, line in COMMANDS}) >= 12
    assert {page for page, _ in blocks("yaml")} >= {"README.md", "first-job.md", "operations.md"}


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_command_lines_are_understood(page: str, line: str) -> None:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True  # or a URI is several words
    words = list(lexer)
    end = next((number for number, word in enumerate(words) if set(word) <= END), len(words))
    with GROUP.make_context("mmrlhfctl", words[:end]) as context:
        name, command, rest = GROUP.resolve_command(context, words[:end])
        command.make_context(name, rest, parent=context).close()


def test_every_step_is_shown() -> None:
    assert {line.split()[0] for _, line in STEPS} == {*step_names(), "step"}


@pytest.mark.parametrize(("page", "line"), STEPS)
def test_command_lines_of_steps_are_understood(page: str, line: str) -> None:
    name, *rest = shlex.split(line)
    assert name == "step" or parse_arguments(find_step(name), rest)


@pytest.mark.parametrize(("page", "words"), sorted(set(mentions())))
def test_commands_that_are_mentioned_exist(page: str, words: str) -> None:
    name, *rest = words.split()
    known = {option for param in GROUP.commands[name].params for option in param.opts}
    assert {word for word in rest if word.startswith("-")} <= known


@pytest.mark.parametrize(("page", "text"), list(blocks("yaml")))
def test_files_are_valid(page: str, text: str, tmp_path: Path) -> None:
    for document in yaml.safe_load_all(text):
        if document.get("kind") in KINDS:
            parse_job(document, source=page)
        elif document.get("kind") in RESOURCES:
            parse_pipeline(Document(document, {}), source=page, in_cluster=True)
        elif document.get("apiVersion", "").split("/")[0] in OTHERS:
            assert page == "pipelines.md"  # tests/unit/docs/test_pipelines.py reads them
        elif set(document) == {"artifacts"}:
            ArtifactStore.model_validate(document["artifacts"], by_alias=True, by_name=False)
        elif "resources" in document:  # a kustomization
            for path in document["resources"]:
                if path.endswith(".yaml"):  # copied from where the page says
                    assert (ROOT / "deploy" / path).is_file(), path
                    continue
                folder = ROOT / path.removeprefix("../mmrlhf/")
                assert (folder / "kustomization.yaml").is_file(), path
        elif "registry" in document:  # values of the chart
            (found,) = lint([document])
            assert found == []
        elif "step" in document:
            (tmp_path / "step.yaml").write_text(text)
            assert load_step(tmp_path / "step.yaml")
        elif "criteria" in document:
            assert GateRules.model_validate(document, by_alias=True, by_name=False)
        elif "judges" in document:
            SafetyPlan.model_validate(document, by_alias=True, by_name=False)
        elif "endpoints" in document:
            (tmp_path / "endpoints.yaml").write_text(text)
            assert load_endpoints(str(tmp_path / "endpoints.yaml"))
        else:
            OperatorConfig.model_validate(document, by_alias=True, by_name=False)
