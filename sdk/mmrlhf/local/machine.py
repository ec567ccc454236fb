"""What a job needs of this machine, looked at before anything is started."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping

from mmrlhf.errors import MachineError
from mmrlhf_api.kinds import Job

__all__ = ["check_machine"]


def check_machine(job: Job, *, environ: Mapping[str, str] = os.environ) -> None:
    """Check that a job can start here.

    Raises:
        MachineError: Packages, variables or GPUs are missing.
    """
    for module in ("torch", "torchx"):
        if importlib.util.find_spec(module) is None:
            raise MachineError(
                f"local runs need {module}, which is not installed: pip install 'mmrlhf[jobs]'"
            )
    missing = [
        variable.name
        for variable in job.spec.pod_template.env
        if variable.secret_key_ref is not None and variable.name not in environ
    ]
    if missing:
        raise MachineError(
            f"{', '.join(missing)} would come from a Secret in the cluster; "
            "set it in the environment for a local run",
            exit_code=2,
        )
    resources = job.spec.resources
    needed = resources.nodes * resources.gpus_per_node
    if needed and needed > (available := _count_gpus(environ)):
        raise MachineError(
            f"the job asks for {needed} GPUs (spec.resources) and this machine has {available}; "
            "to run on CPUs set spec.resources.gpusPerNode to 0",
            exit_code=2,
        )


def _count_gpus(environ: Mapping[str, str]) -> int:
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([entry for entry in visible.split(",") if entry.strip() not in {"", "-1"}])
    if shutil.which("nvidia-smi") is None:
        return 0
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
