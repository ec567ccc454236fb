"""Functions that are reached from some entries, following calls by name."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from tools.imports import Module, Tree

__all__ = ["reached_files"]

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_ALWAYS = frozenset({"__init__", "__post_init__", "__enter__", "__exit__", "__call__", "__iter__",
                     "__aenter__", "__aexit__"})  # fmt: skip


def reached_files(tree: Tree, entries: Iterable[str]) -> list[Path]:
    """Files of all functions that are reached from entries such as ``package.module:Class.name``.

    Raises:
        ValueError: No entry exists in this tree.
    """
    walk = _Walk(tree)
    known = [entry for entry in entries if walk.begin(entry)]
    if not known:
        raise ValueError(f"no such entry: {', '.join(entries)}")
    return sorted({module.path for module in walk.modules})


class _Walk:
    def __init__(self, tree: Tree) -> None:
        self.modules: set[Module] = set()
        self._tree = tree
        self._seen: set[tuple[str, str]] = set()
        self._classes: dict[tuple[str, str], ast.ClassDef] = {}
        self._dotted: set[str] = set(_ALWAYS)
        self._scopes: dict[str, dict[str, ast.stmt]] = {}
        self._imported: dict[str, dict[str, tuple[str, str]]] = {}

    def begin(self, entry: str) -> bool:
        module, _, name = entry.partition(":")
        if module not in self._tree.modules:
            return False
        owner, _, method = name.partition(".")
        self._reach(module, owner)
        if method and (found := self._classes.get((module, owner))) is not None:
            self._dotted.add(method)
            self._methods(module, found)
        return True

    def _scope(self, module: str) -> dict[str, ast.stmt]:
        if module not in self._scopes:
            scope: dict[str, ast.stmt] = {}
            for node in self._tree.modules[module].syntax.body:
                for name in _defined(node):
                    scope[name] = node
            self._scopes[module] = scope
        return self._scopes[module]

    def _names(self, module: str) -> dict[str, tuple[str, str]]:
        if module not in self._imported:
            self._imported[module] = self._tree.names(module)
        return self._imported[module]

    def _reach(self, module: str, name: str) -> None:
        if (module, name) in self._seen:
            return
        self._seen.add((module, name))
        node = self._scope(module).get(name)
        if node is None:
            if name in (imported := self._names(module)):
                self._reach(*imported[name])
        elif isinstance(node, ast.ClassDef):
            self._classes[module, name] = node
            for base in node.bases:
                self._read(module, base)
            self._methods(module, node)
        else:
            if isinstance(node, _Function):
                self.modules.add(self._tree.modules[module])
            self._read(module, node)

    def _methods(self, module: str, node: ast.ClassDef) -> None:
        for method in node.body:
            if isinstance(method, _Function) and method.name in self._dotted:
                key = (module, f"{node.name}.{method.name}")
                if key not in self._seen:
                    self._seen.add(key)
                    self.modules.add(self._tree.modules[module])
                    self._read(module, method)

    def _read(self, module: str, node: ast.AST) -> None:
        new: set[str] = set()
        imported, scope = self._names(module), self._scope(module)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name):
                if inner.id in scope or inner.id in imported:
                    self._reach(module, inner.id)
            elif isinstance(inner, ast.Attribute):
                if (
                    isinstance(inner.value, ast.Name)
                    and imported.get(inner.value.id, ("", "-"))[1] == ""
                ):
                    self._reach(imported[inner.value.id][0], inner.attr)
                elif inner.attr not in self._dotted:
                    new.add(inner.attr)
        if new:
            self._dotted |= new
            for (owner, _), found in list(self._classes.items()):
                self._methods(owner, found)


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
