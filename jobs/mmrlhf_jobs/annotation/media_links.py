"""Where an annotation tool finds the media of a query."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from mmrlhf_jobs.annotation.self_test import PICTURE_URL
from mmrlhf_jobs.annotation.tasks import Task
from mmrlhf_jobs.data.data_urls import data_url
from mmrlhf_jobs.data.media import MediaFinder, in_record, load_image
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.parts import spread
from mmrlhf_jobs.data.queries import QueryRecord
from mmrlhf_jobs.errors import DataError, SpecError
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["MediaLinks"]


@dataclass(frozen=True)
class MediaLinks:
    """Links to images, and to the frames of videos, since those are what models see.

    Signed links would expire while people work, so links are to what the tool can resolve by
    itself, or hold the image.

    Attributes:
        folders: Where media may be.
        url: The root of them as the tool's users see it, such as ``https://host/media`` or
            ``/data/local-files/?d=media``; None: the root itself, if it is no local folder.
        embed: Put the images into the tasks instead.
        max_frames: Most frames of a video, evenly spread.
        storage: Where the object store is, for ``s3://``.
    """

    folders: MediaFolders
    url: str | None = None
    embed: bool = False
    max_frames: int = 32
    storage: StorageOptions | None = None

    def of(self, task: Task) -> list[str]:
        """URLs of all images, in order.

        Raises:
            DataError: A file is missing, or has another digest when it is embedded.
            SpecError: The tool cannot be told where the files are.
        """
        if task.self_test:
            return [PICTURE_URL]
        files = self._shown(task.query)
        try:
            if self.embed:
                return [
                    data_url(self.folders.resolve(uri), sha256, self.storage)
                    for uri, sha256 in files
                ]
            return self._links([uri for uri, _ in files])
        except DataError as error:
            raise in_record(task.query, error, "media", "media") from error

    def check(self, query: QueryRecord) -> None:
        """Open all images that a task would show: nobody can judge by one that is broken.

        Raises:
            DataError: One is missing, cannot be decoded, or has another digest.
        """
        try:
            for uri, sha256 in self._shown(query):
                load_image(uri, self.folders, sha256=sha256, storage=self.storage)
        except DataError as error:
            raise in_record(query, error, "media", "media") from error

    def _shown(self, query: QueryRecord) -> list[tuple[str, str]]:
        """URI and digest of all images, in order."""
        files: list[tuple[str, str]] = []
        for medium in query.media:
            if medium.kind == "video":
                frames = spread(medium.frames, self.max_frames)
                files += [(frame.uri, frame.sha256) for frame in frames]
            else:
                files += medium.files
        return files

    def _links(self, uris: list[str]) -> list[str]:
        with MediaFinder(self.folders, self.storage) as finder:
            problems = finder.problems(uris)
        if problems:
            raise DataError("; ".join(problems.values()))
        return [self._link(uri) for uri in uris]

    def _link(self, uri: str) -> str:
        full = self.folders.resolve(uri)
        if self.url is not None and full != uri:
            return f"{self.url.rstrip('/')}/{quote(uri)}"
        if full.startswith("file://") or "://" not in full:
            raise SpecError(
                f"{full}: annotators cannot open a local file; give the URL that the folder has for"
                " them by --media-url, or put the images into the tasks by --embed-media"
            )
        return full
