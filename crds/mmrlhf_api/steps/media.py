"""Where the media of records are, the same for all steps."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen
from pydantic import Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import ListOf
from mmrlhf_api.steps.marks import Flag
from mmrlhf_api.uris import Uri

__all__ = ["MediaFolders"]


class MediaFolders(ApiModel):
    """Folders that media may be in."""

    media_root: Uri | None = None
    """Folder that relative media paths start from; without it, that of the records."""
    allowed_media_roots: Annotated[
        tuple[Uri, ...],
        Strict(strict=False),
        MaxLen(64),
        ListOf("atomic"),
        Flag("--allowed-media-root"),
    ] = ()
    """Another folder that media may be in; repeatable."""
