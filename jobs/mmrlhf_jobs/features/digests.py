"""Digests of tensors: of their names, forms and bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["digest_tensors"]


def digest_tensors(tensors: Mapping[str, Tensor], *more: str) -> str:
    """SHA-256 (64 hex digits) of tensors by name, and of texts."""
    digest = hashlib.sha256()
    for text in more:
        _add(digest, text.encode())
    for name, tensor in sorted(tensors.items()):
        _add(digest, f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, content: bytes) -> None:
    # With its length: texts that follow each other cannot be taken for others.
    digest.update(len(content).to_bytes(8, "little"))
    digest.update(content)
