"""Artifact stores as the user who asks reads them: with credentials of this machine."""

from __future__ import annotations

from typing import Any

from mmrlhf.errors import MmrlhfError

__all__ = ["open_store", "unreadable"]


def open_store(uri: str, *, endpoint: str | None, region: str | None) -> tuple[Any, str]:
    """Return the file system of a URI, and the path in it.

    Args:
        uri: A path, ``file://`` or ``s3://``.
        endpoint: URL of an S3-compatible service; None is AWS itself.
        region: Its region.
    """
    # Who looks at a cluster alone opens no store.
    import fsspec

    if not uri.startswith(("s3://", "s3a://")):
        fs = fsspec.filesystem("file")
    else:
        # Servers other than AWS seldom have a DNS name per bucket.
        addressing = {"s3": {"addressing_style": "path"}} if endpoint else {}
        fs = fsspec.filesystem(
            "s3",
            client_kwargs={
                **({"region_name": region} if region else {}),
                **({"endpoint_url": endpoint} if endpoint else {}),
            },
            config_kwargs=addressing,
            use_listings_cache=False,
        )
    return fs, str(fs._strip_protocol(uri)).rstrip("/")  # noqa: SLF001 - fsspec's own name for it


def unreadable(uri: str, error: Exception) -> MmrlhfError:
    """Return the error for a user that a store cannot be read."""
    if isinstance(error, ImportError):
        return MmrlhfError(f"{uri}: cannot be read without s3fs; install mmrlhf[jobs] or s3fs")
    return MmrlhfError(
        f"cannot read {uri}: {error or type(error).__name__}",
        "the store is read from this machine, with the credentials of its environment",
    )
