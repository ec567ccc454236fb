"""``why``: one ranked answer from everything that is known around a job."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mmrlhf.client.cluster import open_cluster
from mmrlhf.client.connection import Connection
from mmrlhf.client.names import find_job, parse_job_names
from mmrlhf.client.runs import run_targets
from mmrlhfctl.diagnosis.explanation import explain
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import colours_wanted, out
from mmrlhfctl.text.answers import answer_data, answer_lines
from mmrlhfctl.text.output import json_text, yaml_text
from mmrlhfctl.verbs.runs import tell_why_of_run
from mmrlhfctl.verbs.why_facts import read_facts

__all__ = ["tell_why"]


def tell_why(connection: Connection, words: Sequence[str], *, form: str) -> None:
    """Say why a job is where it is.

    Args:
        connection: Which cluster.
        words: The job.
        form: text, json or yaml.
    """
    runs = run_targets(words)
    if runs is not None:
        if form != "text":
            raise CliError(
                f"-o {form} is for jobs; get {' '.join(words)} -o {form} shows a run's status",
                code=ExitCode.USAGE,
            )
        tell_why_of_run(connection, runs)
        return
    (target,) = parse_job_names(words, at_most=1)
    cluster = open_cluster(connection)
    facts = read_facts(cluster, find_job(cluster, target))
    answer = explain(facts)
    if form == "text":
        colours = colours_wanted(sys.stdout)
        out("\n".join(answer_lines(facts.job, answer, facts.now, colours=colours)))
        return
    data = answer_data(facts.job, answer)
    out(json_text(data) if form == "json" else yaml_text(data))
