"""What can go wrong with building images, in words for the person who reads them.

ImageError
+-- PrerequisiteError    something this machine lacks; the message says what to do
+-- BuildError           a command failed; the message ends with what it said
"""

from __future__ import annotations

__all__ = ["BuildError", "ImageError", "PrerequisiteError"]


class ImageError(Exception):
    """Base of all errors of building images."""


class PrerequisiteError(ImageError):
    """The machine lacks something that the build needs."""


class BuildError(ImageError):
    """A command of the build failed."""
