"""The modules of the project and what they import of each other."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

__all__ = ["Module", "Tree", "circles"]

_SOURCES: Final = ("crds", "jobs", "sdk", "operator", "cli")


@dataclass(frozen=True)
class Module:
    """A module of the project."""

    name: str
    path: Path

    @cached_property
    def syntax(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.path.read_text())


@dataclass(frozen=True)
class Tree:
    """All modules below a root, by name."""

    root: Path
    modules: Mapping[str, Module]

    @classmethod
    def read(cls, root: Path) -> Tree:
        """Find the modules of all packages."""
        found = {}
        for source in _SOURCES:
            for path in sorted((root / source).rglob("*.py")):
                words = path.relative_to(root / source).with_suffix("").parts
                name = ".".join(words[:-1] if words[-1] == "__init__" else words)
                found[name] = Module(name, path)
        return cls(root, found)

    def names(self, module: str) -> dict[str, tuple[str, str]]:
        """Module and name of each name that a module imports; the name of a module is empty."""
        found = {}
        for node in ast.walk(self.modules[module].syntax):
            if isinstance(node, ast.ImportFrom) and node.module in self.modules:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    where = (inner, "") if inner in self.modules else (str(node.module), alias.name)
                    found[alias.asname or alias.name] = where
            elif isinstance(node, ast.Import):
                found.update({a.name: (a.name, "") for a in node.names if a.name in self.modules})
        return found

    @cached_property
    def imports(self) -> dict[str, frozenset[str]]:
        """Modules of the project that each imports, also within functions and for types."""
        return {
            name: frozenset(source for source, _ in self.names(name).values()) - {name}
            for name in self.modules
        }

    @cached_property
    def imports_between_rooms(self) -> dict[str, frozenset[str]]:
        """The same for rooms: packages, and modules that lie beside them."""
        rooms: dict[str, set[str]] = {}
        for module, targets in self.imports.items():
            own = rooms.setdefault(_room(module), set())
            own.update(room for target in targets if (room := _room(target)) != _room(module))
        return {room: frozenset(targets) for room, targets in rooms.items()}


def circles(graph: Mapping[str, Set[str]]) -> list[frozenset[str]]:
    """Groups of two or more that reach each other (strongly connected components, Tarjan 1972)."""
    found: list[frozenset[str]] = []
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            cut = stack.index(node)
            group = frozenset(stack[cut:])
            del stack[cut:]
            if len(group) > 1:
                found.append(group)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])
