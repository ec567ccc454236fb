"""Norms and feed-forward layers of the language model, compiled for any number of tokens.

All layers of a class share one compiled function, whose weights are inputs, and the tokens of all
rows come to it as one dimension that is marked as dynamic: new lengths and numbers of rows compile
nothing. Graphs are bounded by torch (``torch._dynamo.config.recompile_limit``); what would be one
more runs as it is written.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from mmrlhf_jobs.forward.proof import TOLERANCES
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel

__all__ = ["Compilation", "compile_layers"]

_QUESTION: Final = "how many words are in this line of the warm-up?"
_RESPONSES: Final = (("one", "a few more of them"), ("none at all", "two", "I have not counted"))


@dataclass(frozen=True)
class Compilation:
    """What was compiled; the manifest has it as it is.

    Attributes:
        modules: Modules that run compiled code; 0 if none does.
        classes: Names of their classes.
        graphs: Graphs that were compiled in the warm-up.
        seconds: What the warm-up took.
        reason: Why nothing is compiled; else empty.
    """

    modules: int = 0
    classes: tuple[str, ...] = ()
    graphs: int = 0
    seconds: float = 0.0
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As the manifest has it."""
        return asdict(self)

    def sentence(self) -> str:
        """What the user is told."""
        if self.reason:
            return f"nothing is compiled: {self.reason}"
        return (
            f"{self.modules} modules ({', '.join(self.classes)}) run {self.graphs} compiled "
            f"graphs; the warm-up took {self.seconds:.0f} s"
        )


def compile_layers(loaded: LoadedModel, *, backend: str, clock: Callable[[], float]) -> Compilation:
    """Compile, warm up with and without gradients, and compare with the code as it is written.

    Where that fails, such as for want of a C++ compiler, or is beyond the tolerance of the model's
    number format, nothing is left compiled.

    Args:
        loaded: The model, with ``requires_grad`` as it is wanted and whole weights.
        backend: Of ``torch.compile``.
        clock: Tells seconds.
    """
    begin, graphs = clock(), counters["stats"]["unique_graphs"]
    modules = _find_modules(loaded.adapter.decoder(loaded.model))
    by_class: dict[type[nn.Module], list[nn.Module]] = defaultdict(list)
    for module in modules:
        by_class[type(module)].append(module)
    if not modules:
        return Compilation(
            reason="the language model has no norm or feed-forward layer that is known"
        )
    groups = [loaded.adapter.encode(_QUESTION, [], own) for own in _RESPONSES]
    weights = [one for module in modules for one in module.parameters() if one.requires_grad]
    expected = _figures(loaded, groups, weights)
    try:
        for kind, own in by_class.items():
            compiled = torch.compile(kind.forward, dynamic=True, backend=backend)
            for module in own:
                module.forward = partial(_run, compiled, module)
        reason = _compare(_figures(loaded, groups, weights), expected, loaded.model.dtype)
    except Exception as error:  # noqa: BLE001 - compilers fail in ways of their own
        # The first line names the backend, the second what it says.
        lines = " ".join(str(error).split("\n")[:2]).strip()
        reason = f"{type(error).__name__}: {lines[:300]}"
    if reason:
        for module in modules:
            vars(module).pop("forward", None)
        return Compilation(seconds=clock() - begin, reason=reason)
    return Compilation(
        modules=len(modules),
        classes=tuple(sorted(kind.__name__ for kind in by_class)),
        graphs=int(counters["stats"]["unique_graphs"] - graphs),
        seconds=clock() - begin,
    )


def _run(compiled: Callable[..., Tensor], module: nn.Module, hidden: Tensor) -> Tensor:
    """One row of all tokens, whatever the rows and heads were."""
    return compiled(module, hidden.reshape(1, -1, hidden.shape[-1])).reshape(hidden.shape)


def _find_modules(decoder: nn.Module) -> list[nn.Module]:
    """Norms, and feed-forward layers of plain linear layers.

    Experts choose by what they read, and adapters are switched off and on.
    """
    found = []
    for path, module in decoder.named_modules():
        name = path.rpartition(".")[2]
        weights = list(module.parameters())
        norm = "norm" in name and all(one.ndim == 1 for one in weights)
        children = [one for one in module.children() if list(one.parameters())]
        feed_forward = name in {"mlp", "feed_forward"} and all(
            type(one) is nn.Linear for one in children
        )
        takes_one = len(inspect.signature(type(module).forward).parameters) == 2
        if weights and takes_one and (norm or feed_forward):
            found.append(module)
    return found


def _figures(
    loaded: LoadedModel, groups: Sequence[EncodedGroup], weights: Sequence[nn.Parameter]
) -> tuple[Tensor, list[Tensor]]:
    """Mean log-probabilities with and without gradients, and gradients of all weights together."""
    model, adapter = loaded.model, loaded.adapter
    means: list[Tensor] = []
    sums = [torch.zeros_like(one, dtype=torch.float32) for one in weights]
    # Rows of one response as well: a graph is of rows that are one, or several.
    layouts = (True, False) if adapter.supports_shared_prefix else (False,)
    for group, shared, enabled in product(groups, layouts, (True, False)):
        with torch.set_grad_enabled(enabled):
            found = response_log_probs(model, adapter, [group], shared_prefix=shared)
        mean = found.sums / found.lengths.clamp(min=1)
        means.append(mean.detach())
        if enabled and weights:
            signs = torch.linspace(1, -0.5, len(mean), dtype=mean.dtype, device=mean.device)
            own = torch.autograd.grad((mean * signs).sum(), weights, allow_unused=True)
            for total, gradient in zip(sums, own, strict=True):
                if gradient is not None:
                    total.add_(gradient)
    return torch.cat(means), sums


def _compare(
    found: tuple[Tensor, list[Tensor]], expected: tuple[Tensor, list[Tensor]], dtype: torch.dtype
) -> str:
    """Why what was found is wrong; empty if it is not. NaN is wrong."""
    limit = TOLERANCES[dtype]
    apart = float((found[0] - expected[0]).abs().max())
    norm = sum(float(one.square().sum()) for one in expected[1]) ** 0.5
    off = sum(
        float((one - other).square().sum())
        for one, other in zip(found[1], expected[1], strict=True)
    )
    share = off**0.5 / max(norm, 1e-30)
    if apart <= limit.log_prob and (share <= limit.gradient or not expected[1]):
        return ""
    return (
        f"compiled code is {apart:.2g} nats a token and {share:.2g} of the gradients apart from "
        f"the code as it is written, and {limit} are allowed"
    )
