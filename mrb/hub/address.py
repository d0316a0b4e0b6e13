"""Parse addresses of folders on the Hub: `hf://datasets/ORG/NAME[@REVISION][/FOLDER]`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from mrb.errors import CandidatesError, to_one_line

SCHEME = "hf://"
FORM = "hf://datasets/ORG/NAME[@REVISION][/FOLDER]"
_ADDRESS = re.compile(r"hf://datasets/([^/@]+/[^/@]+)(?:@([^/]+))?((?:/[^/]+)*)/?")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
_FOLDER = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,99}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFolder:
    """A folder of a Hub data set ("" is the top folder) at a branch, tag or commit; None is the main branch."""

    repository: str
    revision: str | None = None
    folder: str = ""

    @property
    def pinned(self) -> bool:
        """True if the revision is a full commit, which always names the same files."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    def at(self, commit: str) -> HubFolder:
        """Return the same folder at a commit."""
        return replace(self, revision=commit)

    def path(self, name: str) -> str:
        """Return the path in the repository of the file `name` of the folder."""
        return f"{self.folder}/{name}" if self.folder else name

    def __str__(self) -> str:
        revision = f"@{quote(self.revision, safe='')}" if self.revision else ""
        return f"{SCHEME}datasets/{self.repository}{revision}{'/' + self.folder if self.folder else ''}"


def is_address(text: str) -> bool:
    """Return whether `text` is an address on the Hub rather than a path."""
    return text.startswith(SCHEME)


def parse_address(text: str) -> HubFolder:
    """Parse an address. A slash in a revision is written %2F.

    Raises CandidatesError if it is not an address or has a name that the Hub or a file system refuses.
    """
    shown = to_one_line(text, 200)
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise CandidatesError(f"{shown}: not an address on the Hub: wanted {FORM}")
    repository, revision, folder = match[1], match[2] and unquote(match[2]), match[3].strip("/")
    named_well = all(_NAME.fullmatch(part) for part in repository.split("/"))
    if not named_well or "--" in repository or ".." in repository or repository.endswith(".git"):
        raise CandidatesError(f"{shown}: {to_one_line(repository)!r} is not the name of a data set on the Hub")
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise CandidatesError(
            f"{shown}: {to_one_line(revision)!r} is not a revision: wanted a branch, a tag or a commit"
        )
    if any(not _FOLDER.fullmatch(part) for part in folder.split("/") if folder) or folder.endswith(".parquet"):
        raise CandidatesError(
            f"{shown}: {to_one_line(folder)!r} is not a folder of lists; single lists are named by --task"
        )
    return HubFolder(repository, revision, folder)
