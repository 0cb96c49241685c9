"""The one way into the folder of a run or an evaluation, which may come from somebody else.

Below the folder no link is followed, nothing but a regular file with one name is opened, and no
name leads outside. Files are written beside their place and renamed, so that whatever stood there
is replaced and never written through. The folder itself is the user's word: it may be a link.
"""

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from io import BufferedReader, BufferedWriter
from pathlib import Path, PurePosixPath
from typing import Any

from serl_trl.common.disk import naming_a_full_disk
from serl_trl.common.records import RecordError, Shape, check_shape, parse_json

# Bytes of a file that is parsed as a whole; what a run writes of that kind has a few thousand.
MAX_SMALL_FILE = 4_000_000

# No link is followed, a pipe is not waited for, no child process inherits the file.
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FolderError(ValueError):
    """What in a folder is not read or written, and why, in one sentence."""


@dataclass(frozen=True)
class Folder:
    """Reads and writes below `root`; every method raises `FolderError` for what it refuses.

    A run may be downloaded, and a link or a pipe in it would have us overwrite, publish or wait for
    something else. Whatever opens a file below a run without this class takes that risk again.
    Names are relative, with slashes. What the system refuses is a `FolderError` too, but a full
    disk is a `DiskFullError`.
    """

    root: Path

    def at(self, name: str | PurePosixPath = ".") -> Path:
        """Return the path of `name`, which need not exist, when no part of it is a link."""
        path = self._way_to(name)
        self._look(path)
        return path

    def has(self, name: str, *, shared: bool = False) -> bool:
        """Return whether the file `name` is there; anything else in its place is an error.

        `shared` allows a file with several names, as our own uploads give to weights.
        """
        path = self._way_to(name)
        info = self._look(path)
        if info is not None:
            _check(path, info, shared=shared)
        return info is not None

    def has_folder(self, name: str) -> bool:
        """Return whether the folder `name` is there."""
        info = self._look(self._way_to(name))
        return info is not None and stat.S_ISDIR(info.st_mode)

    def open(self, name: str, *, shared: bool = False) -> BufferedReader:
        """Open the file `name` for reading."""
        return os.fdopen(self.handle(name, os.O_RDONLY, shared=shared), "rb")

    def append(self, name: str) -> BufferedWriter:
        """Open the file `name`, made if it does not exist, for writing at its end."""
        self.make(_parent(name))
        return os.fdopen(self.handle(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab")

    def handle(self, name: str, flags: int, *, shared: bool = False) -> int:
        """Open the file `name` as `os.open` does, and return its descriptor."""
        self.has(name, shared=shared)
        path = self.root / name
        with _naming(path):
            handle = os.open(path, flags | _FLAGS, 0o666)
        try:
            # Again, of what was opened: it may have been replaced since.
            _check(path, os.fstat(handle), shared=shared)
        except FolderError:
            os.close(handle)
            raise
        return handle

    def read_text(self, name: str, *, max_bytes: int = MAX_SMALL_FILE, shared: bool = False) -> str:
        """Return the text of a small file."""
        path = self.root / name
        with self.open(name, shared=shared) as file, _naming(path):
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise FolderError(f"{path} is too large: at most {max_bytes:,} bytes are read of it.")
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FolderError(f"{path} is not UTF-8 (byte {error.start + 1}).") from error

    def read_json(
        self, name: str, shape: Shape, *, max_bytes: int = MAX_SMALL_FILE, shared: bool = False
    ) -> Any:
        """Return the JSON value of a small file, which must have `shape`."""
        text = self.read_text(name, max_bytes=max_bytes, shared=shared)
        try:
            return check_shape(parse_json(text), shape)
        except RecordError as error:
            raise FolderError(f"{self.root / name} is damaged or not ours: {error}.") from error

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file that is there as a whole or not at all, and return its path."""
        self.make(_parent(name))
        path = self._way_to(name)
        # Renamed at last: a crash leaves the old file or the new one, and what a stranger put in
        # its place is replaced, never written through.
        data = content.encode() if isinstance(content, str) else content
        # Cut, because file systems take names of at most 255 bytes; random, because several
        # processes of a machine may write the same file.
        partial = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.partial")
        with _naming(path), naming_a_full_disk(path, needed=len(data)):
            try:
                # A link that waits under that name is refused, too.
                handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
            sync(path.parent)
        return path

    def make(self, name: str) -> Path:
        """Make the folder `name` with those above it, unless it is there."""
        path = self.at(name)
        with _naming(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def remove(self, name: str) -> None:
        """Remove the file or the whole folder `name`; a link itself, never what it leads to."""
        path = self._way_to(name)
        with _naming(path), contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(path.lstat().st_mode):
                shutil.rmtree(path)
            else:
                path.unlink()

    def entries(self, name: str = ".") -> list[Path]:
        """Return what the folder `name` holds, sorted; nothing when it does not exist."""
        path = self.at(name)
        with _naming(path):
            return sorted(path.iterdir()) if path.is_dir() else []

    def files(self, name: str = ".", *, shared: bool = False) -> Iterator[str]:
        """Yield the name of every file below the folder `name`, which must hold nothing else."""
        for path in self.entries(name):
            below = path.relative_to(self.root).as_posix()
            if self.has_folder(below):
                yield from self.files(below, shared=shared)
            elif self.has(below, shared=shared):
                yield below

    def _way_to(self, name: str | PurePosixPath) -> Path:
        """Return the path of `name`, when the folders above it are none but folders."""
        parts = PurePosixPath(name).parts
        if ".." in parts or PurePosixPath(name).is_absolute() or "\0" in str(name):
            raise FolderError(f"{str(name)[:200]!r} leads outside of {self.root}.")
        path = self.root
        for part in parts[:-1]:
            path = path / part
            info = self._look(path)
            if info is not None and not stat.S_ISDIR(info.st_mode):
                raise FolderError(f"{path} is not a folder.")
        return self.root.joinpath(*parts)

    def _look(self, path: Path) -> os.stat_result | None:
        """Return the status of `path`, or `None` when there is nothing; raise for a link."""
        # The user's word, which may be a link.
        if path == self.root:
            return None
        with _naming(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            info = path.lstat()
            if stat.S_ISLNK(info.st_mode):
                raise FolderError(
                    f"{path} is a link; nothing in the folder of a run may lead elsewhere, so put "
                    "the file itself there, or remove the link."
                )
            return info
        return None


@contextlib.contextmanager
def _naming(path: Path) -> Generator[None]:
    """Turn what the system refuses into one sentence about `path`."""
    try:
        yield
    except FileNotFoundError as error:
        raise FolderError(f"{path} does not exist.") from error
    except (PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise FolderError(f"{path}: {error.strerror}.") from error


def sync(path: Path) -> None:
    """Wait until a file or the names in a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check(path: Path, info: os.stat_result, *, shared: bool) -> None:
    if not stat.S_ISREG(info.st_mode):
        what = "a folder" if stat.S_ISDIR(info.st_mode) else "a pipe, socket or device"
        raise FolderError(f"{path} is {what} where a file should be; remove it.")
    # Writing through a hard link would change a file somewhere else.
    if info.st_nlink > 1 and not shared:
        raise FolderError(
            f"{path} also lies elsewhere under another name (a hard link); put a copy in its place."
        )


def _parent(name: str) -> str:
    return str(PurePosixPath(name).parent)
