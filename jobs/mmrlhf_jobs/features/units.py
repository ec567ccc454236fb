"""The frozen modules of a vision tower, whose outputs can be given again without running them.

Some towers hold a part that is trained (the merger of Qwen), and of some it is a layer in the midst
that is read. So the tower's own code always runs; its largest modules without a trained weight, the
units, are either run and recorded, or answer with what was recorded. What nothing trained reads of
it is not kept, and is not-a-number where it is given again: a wrong belief cannot stay unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.features.entry import Entry, Leaf, UnitCall

__all__ = ["NotSeparableError", "Run", "Units", "find_units"]

_ADAPTED: Final = "base_layer"
"""What peft calls a layer within the one that it has put in its place."""

Run = Callable[[], list[Tensor]]
"""Makes the features of the media of one query with the model: tower, projector and what is
between."""


class NotSeparableError(Exception):
    """Why what a tower makes cannot be kept."""


def find_units(tower: nn.Module) -> dict[str, nn.Module]:
    """The largest modules of a tower that have weights, none of which is trained; by name.

    A layer with an adapter is trained as a whole, though its own weight is not.
    """

    def walk(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        weights = list(module.parameters())
        runs = type(module).forward is not nn.Module.forward
        if runs and weights and not any(one.requires_grad for one in weights):
            yield name, module
        elif weights and not hasattr(module, _ADAPTED):
            for child, part in module.named_children():
                yield from walk(f"{name}.{child}".removeprefix("."), part)

    return dict(walk("", tower))


_TENSOR: Final = object()


@dataclass(frozen=True)
class _Form:
    """How the outputs of a unit are put together.

    Attributes:
        spec: Their structure.
        fixed: Per leaf its value where it is no tensor, and `_TENSOR` where it is one.
        needed: Places of the tensors that are kept, among the tensors.
    """

    spec: TreeSpec
    fixed: tuple[Any, ...]
    needed: frozenset[int]


class Units:
    """Runs and records the units of a tower, or answers for them.

    Args:
        tower: The tower, with ``requires_grad`` as it is wanted.
    """

    def __init__(self, tower: nn.Module) -> None:
        modules = find_units(tower)
        self._trained = [one for one in tower.parameters() if one.requires_grad]
        self.names = tuple(modules)
        self._modules = tuple(modules.values())
        self._weights = [one for module in self._modules for one in module.parameters()]
        self._forms: dict[int, _Form] = {}

    @property
    def are_frozen(self) -> bool:
        """Whether still none of their weights is trained."""
        return not any(one.requires_grad for one in self._weights)

    @property
    def needed(self) -> list[tuple[str, list[int]]]:
        """What of the outputs of each unit is read by what is trained."""
        return [
            (self.names[unit], sorted(form.needed)) for unit, form in sorted(self._forms.items())
        ]

    def learn(self, run: Run) -> None:
        """Find out, on one medium, which outputs are read; several runs add up.

        Raises:
            NotSeparableError: They cannot be given again.
        """
        traced: list[tuple[int, int, Tensor]] = []

        def check(unit: int, _place: int, value: Tensor) -> Tensor:
            # Not by the flag alone: with checkpoints of the gradient, embeddings ask for one too.
            if value.requires_grad and self._trained:
                found = torch.autograd.grad(
                    value.float().sum(), self._trained, allow_unused=True, retain_graph=True
                )
                if any(one is not None for one in found):
                    raise NotSeparableError(
                        f"{self.names[unit] or 'the tower'} reads what a trained part has made"
                    )
            return value

        def trace(unit: int, place: int, value: Tensor) -> Tensor:
            leaf = value.detach().clone()
            if leaf.is_floating_point():
                traced.append((unit, place, leaf.requires_grad_()))
            return leaf

        with torch.enable_grad():
            with self._recording(check, learn=True):
                run()
            with self._recording(trace):
                total = torch.stack([one.float().sum() for one in run()]).sum()
        if not traced:
            raise NotSeparableError("none of its modules runs for an image")
        if not total.requires_grad:
            raise NotSeparableError("no gradient passes from its features to its outputs")
        found = torch.autograd.grad(total, [leaf for *_, leaf in traced], allow_unused=True)
        for (unit, place, _), gradient in zip(traced, found, strict=True):
            if gradient is not None:
                form = self._forms[unit]
                self._forms[unit] = _Form(form.spec, form.fixed, form.needed | {place})
        with torch.no_grad():
            first, entry = self.record(run)
            second, _ = self.record(run)
            again = self.replay(entry, run)
        if not _equal(first, second):
            raise NotSeparableError("it makes other features of the same image each time")
        if not _equal(first, again):
            raise NotSeparableError("what it has made cannot be given again to what reads it")

    def record(self, run: Run) -> tuple[list[Tensor], Entry]:
        """Run the units, and keep what is needed of them, on the CPU.

        Raises:
            ModelError: Outputs are put together otherwise than those that were learnt from.
        """
        with self._recording(lambda _unit, _place, value: value.detach().clone()) as calls:
            features = run()
        return features, Entry(tuple(calls))

    def replay(self, entry: Entry, run: Run) -> list[Tensor]:
        """Run all but the units, which answer with what was recorded."""
        calls = iter(entry.calls)

        def answer(unit: int, forward: Callable[..., Any]) -> Callable[..., Any]:
            del forward

            def given(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any module's
                call = next(calls, None)
                if call is None or call.unit != unit:
                    raise self._unlike(unit)
                device = _device(args, kwargs)
                form = self._forms[unit]
                tensors = iter([_give(leaf, device) for leaf in call.leaves])
                leaves = [next(tensors) if one is _TENSOR else one for one in form.fixed]
                return tree_unflatten(leaves, form.spec)

            return given

        with self._instead(answer):
            return run()

    @contextmanager
    def _recording(
        self, pass_on: Callable[[int, int, Tensor], Tensor], *, learn: bool = False
    ) -> Iterator[list[UnitCall]]:
        """Run the units; others read what ``pass_on`` makes of unit, place and tensor."""
        calls: list[UnitCall] = []

        def around(unit: int, forward: Callable[..., Any]) -> Callable[..., Any]:
            def recorded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any module's
                leaves, spec = tree_flatten(forward(*args, **kwargs))
                form = self._form(unit, leaves, spec, learn=learn)
                tensors: list[Leaf] = []
                for index, value in enumerate(leaves):
                    if isinstance(value, Tensor):
                        # In one piece of its own: read as it is given again later, to the bit.
                        plain = value.contiguous()
                        leaves[index] = pass_on(unit, len(tensors), plain)
                        tensors.append(_keep(plain, kept=len(tensors) in form.needed))
                calls.append(UnitCall(unit, tuple(tensors)))
                return tree_unflatten(leaves, spec)

            return recorded

        with self._instead(around):
            yield calls

    def _form(self, unit: int, leaves: Sequence[Any], spec: TreeSpec, *, learn: bool) -> _Form:
        """How a unit's outputs are put together; learnt at its first call."""
        fixed = tuple(_TENSOR if isinstance(value, Tensor) else value for value in leaves)
        known = self._forms.get(unit)
        if known is None and learn:
            tensors = [value for value in leaves if isinstance(value, Tensor)]
            # No gradient tells whether numbers that are whole are read.
            needed = [place for place, one in enumerate(tensors) if not one.is_floating_point()]
            known = self._forms[unit] = _Form(spec, fixed, frozenset(needed))
        if known is None or known.spec != spec or known.fixed != fixed:
            raise self._unlike(unit)
        return known

    def _unlike(self, unit: int) -> ModelError:
        return ModelError(
            f"{self.names[unit] or 'the vision tower'} of the model gives other outputs for these "
            "images than for a blank one, so they cannot be kept; set featureCache to off"
        )

    @contextmanager
    def _instead(
        self, make: Callable[[int, Callable[..., Any]], Callable[..., Any]]
    ) -> Iterator[None]:
        before = [module.__dict__.get("forward") for module in self._modules]
        for unit, module in enumerate(self._modules):
            module.__dict__["forward"] = make(unit, module.forward)
        try:
            yield
        finally:
            for module, own in zip(self._modules, before, strict=True):
                if own is None:
                    del module.__dict__["forward"]
                else:
                    module.__dict__["forward"] = own


def _keep(value: Tensor, *, kept: bool) -> Leaf:
    own = value.detach().to("cpu", copy=True) if kept else None
    return Leaf(value.dtype, tuple(value.shape), own)


def _give(leaf: Leaf, device: torch.device) -> Tensor:
    if leaf.value is not None:
        return leaf.value.to(device, copy=True)
    nothing = torch.full((), torch.nan, dtype=leaf.dtype, device=device)
    return nothing.expand(leaf.shape)


def _device(args: Sequence[Any], kwargs: dict[str, Any]) -> torch.device:
    """Where a module's inputs are."""
    inputs, _ = tree_flatten((tuple(args), kwargs))
    return next(value.device for value in inputs if isinstance(value, Tensor))


def _equal(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))
