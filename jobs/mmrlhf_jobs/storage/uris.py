"""URIs of files and folders: a path, ``file://`` or ``s3://``.

fsspec knows some fifty schemes more, and chains of them: requests to any host, archives, other
file systems, templates. None of them is opened here, whoever names it, but ``memory://``, which is
a dictionary of this process.
"""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mmrlhf_jobs.errors import (
    InputError,
    JobError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)

__all__ = ["Location", "StorageOptions", "join_uri", "locate", "parent_uri", "storage_errors"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_CLIENT_PACKAGES = frozenset({"aiobotocore", "aiohttp", "botocore"})
# By name: the client is loaded with the first s3:// URI, and not all jobs have one.
_CREDENTIALS_MISSING = frozenset({"NoCredentialsError", "PartialCredentialsError"})


@dataclass(frozen=True)
class StorageOptions:
    """How to reach an object store; credentials come from the environment, never from here."""

    endpoint: str | None = None
    """URL of an S3-compatible server; None means AWS itself."""
    region: str | None = None
    patience: float = 300.0
    """Seconds that a store may be away before an error is raised."""


@dataclass(frozen=True)
class Location:
    """A URI resolved to a file system and a path on it."""

    uri: str
    fs: Any
    path: str

    @property
    def is_local(self) -> bool:
        """Whether the path is one of this machine's, with rename and fsync."""
        return isinstance(self.fs, LocalFileSystem)


def locate(uri: str, options: StorageOptions | None = None) -> Location:
    """Resolve a URI.

    Args:
        uri: A path or a URL; a path without a scheme is a local one.
        options: Where the object store is, for ``s3://``.

    Raises:
        InputError: The scheme is none of these, or s3fs is not installed.
    """
    if uri.startswith(("s3://", "s3a://")):
        return _locate_s3(uri, options or StorageOptions())
    scheme, mark, _ = uri.partition("://")
    if mark and scheme not in ("file", "memory"):
        raise InputError(
            f"{uri}: cannot be opened: {scheme}:// is not served; use a path, file:// or s3://"
        )
    # Not url_to_fs: it reads "::" as a chain of protocols.
    fs = fsspec.filesystem(scheme if mark else "file")
    return Location(uri, fs, fs._strip_protocol(uri))  # noqa: SLF001 - fsspec's own name for it


def _locate_s3(uri: str, options: StorageOptions) -> Location:
    try:
        from mmrlhf_jobs.storage.s3 import PatientS3
    except ImportError as error:
        raise InputError(f"{uri}: cannot be opened: {error}; install s3fs") from error

    # Servers other than AWS seldom have a DNS name per bucket. Waiting is ours: one try is one.
    addressing = {"s3": {"addressing_style": "path"}} if options.endpoint else {}
    fs = PatientS3(
        patience=options.patience,
        client_kwargs={
            **({"region_name": options.region} if options.region else {}),
            **({"endpoint_url": options.endpoint} if options.endpoint else {}),
        },
        config_kwargs={"retries": {"total_max_attempts": 1}, **addressing},
        # A cached listing would hide what another process has just committed.
        use_listings_cache=False,
    )
    return Location(uri, fs, PatientS3._strip_protocol(uri))  # noqa: SLF001 - fsspec's own name for it


def join_uri(base: str, relative: str) -> str:
    """Resolve a URI against a folder.

    An absolute path or a URI with a scheme is taken as it is. A relative one stays inside the
    folder.

    Raises:
        InputError: The relative path leads out of the folder by ``..``.
    """
    if "://" in relative or relative.startswith("/"):
        return relative
    normal = posixpath.normpath(relative)
    if normal == ".." or normal.startswith("../"):
        raise InputError(f"{relative}: leads out of {base}")
    return f"{base.rstrip('/')}/{normal}"


def parent_uri(uri: str) -> str:
    """The folder that holds the file or folder at this URI."""
    scheme, separator, path = uri.rpartition("://")
    return scheme + separator + (posixpath.dirname(path.rstrip("/")) or ("/" if scheme else "."))


@contextmanager
def storage_errors(uri: str, action: str) -> Iterator[None]:
    """Turn errors of file systems and object stores into ours, with one clear message.

    Args:
        uri: What was read or written.
        action: What was done to it, such as ``write``.

    Raises:
        InputError: It may not be read or written.
        StorageFullError: The disk is full.
        StorageUnavailableError: The server does not answer, or blames itself.
        StorageError: The file is gone, and so on.
    """
    try:
        yield
    except JobError:
        raise
    except Exception as error:
        # The client first: some of its errors are of the system's classes as well.
        if _came_from_client(error):
            raise _client_error(error, uri, action) from error
        if isinstance(error, OSError):
            if _came_from_client(error.__cause__) and _is_outage(error):
                raise _unavailable(error, uri, action) from error
            raise _system_error(error, uri, action) from error
        raise


@contextmanager
def full_disk_errors(uri: str) -> Iterator[None]:
    """Tell a full disk as such; all other errors stay what they are.

    For work that writes to a folder and reads elsewhere, so that most of its errors are not of the
    folder.

    Raises:
        StorageFullError: No space is left.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _system_error(error, uri, "write") from error
        raise


def _came_from_client(error: BaseException | None) -> bool:
    return type(error).__module__.partition(".")[0] in _CLIENT_PACKAGES


def _is_outage(error: Exception) -> bool:
    from mmrlhf_jobs.storage.s3 import is_transient  # loaded already, with the client

    return is_transient(error)


def _unavailable(error: Exception, uri: str, action: str) -> JobError:
    return StorageUnavailableError(
        f"cannot {action} {uri}: {error}; the store is away: check the endpoint, or run the job"
        " again"
    )


def _client_error(error: Exception, uri: str, action: str) -> JobError:
    if type(error).__name__ in _CREDENTIALS_MISSING:
        return InputError(
            f"{uri}: cannot {action} it without credentials ({error}); set AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, in a cluster by spec.artifacts.credentialsSecret"
        )
    if _is_outage(error):
        return _unavailable(error, uri, action)
    return StorageError(
        f"cannot {action} {uri}: {error}; check the endpoint, region and credentials, and that the"
        " server's certificate is trusted"
    )


def _system_error(error: OSError, uri: str, action: str) -> JobError:
    if error.errno in _FULL:
        return StorageFullError(
            f"disk full: cannot {action} {uri}; free space there or choose another place"
        )
    if isinstance(error, PermissionError) or error.errno in _REFUSED:
        return InputError(
            f"{uri}: no permission to {action} it ({error}); check its owner, mount and credentials"
        )
    if isinstance(error, FileNotFoundError):
        return StorageError(f"{uri}: does not exist ({error})")
    return StorageError(f"cannot {action} {uri}: {error}")
