"""How pip reaches its index on this machine, handed to a build without leaving a trace in it.

A build gets three things: a pip.conf and a bundle of certificates as secrets, which exist only
while a command runs, and a folder of wheels as a mount.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["PackageIndex"]

_CARRIED: Final = ("index-url", "trusted-host", "proxy", "timeout")
"""One index: a second one could answer for any name with a version of its own."""
_AUTHORITIES: Final = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_CERTIFICATES_INSIDE: Final = "/run/secrets/ca.crt"


@dataclass(frozen=True)
class PackageIndex:
    """What pip needs to know.

    Attributes:
        settings: Options of pip, without those that name local files.
        certificates: Bundle of trusted authorities; None means pip's own.
        wheels: Local folder of wheels.
    """

    settings: Mapping[str, str]
    certificates: Path | None
    wheels: Path | None

    @classmethod
    def of_this_machine(cls) -> PackageIndex:
        """As pip is configured here."""
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return cls.parse(listed, os.environ)

    @classmethod
    def parse(cls, listed: str, environment: Mapping[str, str]) -> PackageIndex:
        """Read the output of `pip config list`.

        Local folders of `--find-links` are taken as far as one goes; indexes on local disks are
        not, because a build does not see them.
        """
        found: dict[str, str] = {}
        for line in listed.splitlines():
            name, _, value = line.partition("=")
            found[name.partition(".")[2].strip(".")] = value.strip("'\"")
        settings = {}
        for name in _CARRIED:
            values = [one for one in found.get(name, "").split() if not one.startswith("file:")]
            if values:
                settings[name] = " ".join(values)
        named = [found.get("cert"), *(environment.get(name) for name in _AUTHORITIES)]
        certificates = next((Path(one) for one in named if one and Path(one).is_file()), None)
        links = (one.removeprefix("file://") for one in found.get("find-links", "").split())
        wheels = next((Path(one) for one in links if Path(one).is_dir()), None)
        return cls(settings, certificates, wheels)

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the secrets of a build.

        Returns:
            Files by the secret's name.
        """
        config = configparser.ConfigParser(interpolation=None)
        config["global"] = dict(self.settings)
        secrets = {"pip": folder / "pip.conf"}
        if self.certificates is not None:
            config["global"]["cert"] = _CERTIFICATES_INSIDE
            secrets["ca"] = self.certificates
        with secrets["pip"].open("w") as file:
            config.write(file)
        return secrets
