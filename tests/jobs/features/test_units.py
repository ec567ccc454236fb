"""What of a tower can be given again, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.features.units import NotSeparableError, Run, Units, find_units


class Layer(nn.Module):
    """A frozen layer, with its number of runs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4).requires_grad_(False)
        self.runs = 0

    def forward(self, value: Tensor) -> Tensor:
        self.runs += 1
        return torch.tanh(self.linear(value))


class Tower(nn.Module):
    """Three layers; the outputs of the first and the last are read by what is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(3))
        self.deep = nn.Linear(4, 4)
        self.merger = nn.Linear(4, 4)

    def forward(self, value: Tensor) -> dict[str, Any]:
        first = self.layers[0](value)
        last = self.layers[2](self.layers[1](first) + 1)
        return {"deep": self.deep(first), "merged": self.merger(last), "none": None}


def runs_of(tower: Tower) -> list[int]:
    return [layer.runs for layer in tower.layers]  # type: ignore[misc]


def run_of(tower: nn.Module, value: Tensor) -> Run:
    def run() -> list[Tensor]:
        found = tower(value)
        return [one for one in found.values() if one is not None]

    return run


@pytest.fixture
def tower() -> Tower:
    torch.manual_seed(0)
    return Tower()


def test_units_are_the_largest_modules_without_a_trained_weight(tower: Tower) -> None:
    assert list(find_units(tower)) == ["layers.0", "layers.1", "layers.2"]
    tower.requires_grad_(False)
    assert list(find_units(tower)) == [""]
    tower.requires_grad_(True)
    assert not find_units(tower)


def test_what_is_given_again_makes_the_same_features_and_gradients_without_a_run(
    tower: Tower,
) -> None:
    units = Units(tower)
    units.learn(run_of(tower, torch.zeros(1, 4)))
    assert units.needed == [("layers.0", [0]), ("layers.1", []), ("layers.2", [0])]
    run = run_of(tower, torch.randn(3, 4))
    plain = run()
    sum(one.sum() for one in plain).backward()  # type: ignore[union-attr]
    expected = [tower.deep.weight.grad, tower.merger.weight.grad]
    _, entry = units.record(run)
    before = runs_of(tower)
    tower.zero_grad(set_to_none=True)
    again = units.replay(entry, run)
    sum(one.sum() for one in again).backward()  # type: ignore[union-attr]
    assert runs_of(tower) == before
    assert all(map(torch.equal, plain, again))
    for value, gradient in zip(expected, [tower.deep, tower.merger], strict=True):
        assert value is not None
        assert gradient.weight.grad is not None
        assert torch.equal(value, gradient.weight.grad)
    # After it, the tower is as it was.
    run()
    assert runs_of(tower) == [one + 1 for one in before]


def test_what_nothing_reads_is_no_number_when_it_is_read_after_all(tower: Tower) -> None:
    units = Units(tower)
    run = run_of(tower, torch.randn(3, 4))
    units.learn(run)
    _, entry = units.record(run)
    assert entry.size == 2 * 3 * 4 * 4

    def read_the_middle() -> list[Tensor]:
        return [tower.layers[2](tower.layers[1](tower.layers[0](torch.zeros(3, 4)))), *middle]

    middle: list[Tensor] = []
    hook = tower.layers[1].register_forward_hook(lambda *call: middle.append(call[2]))
    units.replay(entry, read_the_middle)
    hook.remove()
    assert bool(middle[0].isnan().all())
    assert middle[0].shape == (3, 4)


def test_a_tower_that_cannot_be_given_again_is_refused_with_the_reason(tower: Tower) -> None:
    class Noisy(Tower):
        def forward(self, value: Tensor) -> dict[str, Any]:
            return super().forward(value + torch.randn_like(value))

    class TrainedBefore(Tower):
        def forward(self, value: Tensor) -> dict[str, Any]:
            return super().forward(self.deep(value))

    class Detached(Tower):
        @torch.no_grad()
        def forward(self, value: Tensor) -> dict[str, Any]:
            return super().forward(value)

    class Silent(Tower):
        def forward(self, value: Tensor) -> dict[str, Any]:
            return {"merged": self.merger(value)}

    class Sly(Tower):
        """Reads a layer where no gradient shows it."""

        def forward(self, value: Tensor) -> dict[str, Any]:
            middle = self.layers[1](self.layers[0](value))
            return {"merged": self.merger(self.layers[2](middle) + middle.detach())}

    for kind, words in (
        (Noisy, "other features of the same image each time"),
        (TrainedBefore, "reads what a trained part has made"),
        (Detached, "no gradient"),
        (Silent, "none of its modules runs"),
        (Sly, "cannot be given again"),
    ):
        other = kind()
        units = Units(other)
        with pytest.raises(NotSeparableError, match=words):
            units.learn(run_of(other, torch.zeros(1, 4)))
    assert runs_of(tower) == [0, 0, 0]


def test_outputs_of_another_form_than_the_learnt_ones_are_refused(tower: Tower) -> None:
    class Wide(Layer):
        def forward(self, value: Tensor) -> Any:
            made = super().forward(value)
            return (made, made) if len(value) > 1 else (made,)

    tower.layers[0] = Wide()
    units = Units(tower)

    def run_with(rows: int) -> Run:
        def run() -> list[Tensor]:
            made = tower.layers[0](torch.ones(rows, 4))[0]
            return [tower.merger(made)]

        return run

    units.learn(run_with(1))
    with pytest.raises(ModelError, match="set featureCache to off"):
        units.record(run_with(2))
    assert "forward" not in vars(tower.layers[0])
