"""The runtime directory of a user: where masters have their control sockets, and `preforkctl` finds
them. It is `$XDG_RUNTIME_DIR/prefork` or, where there is no such thing, `/tmp/prefork-UID`.

In /tmp anybody may make anything first: a directory counts only if it is the user's, and nobody
else can write to it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping

_SUFFIX = ".sock"
_XDG = "XDG_RUNTIME_DIR"


def make(environ: Mapping[str, str]) -> str:
    """This user's directory, which is made if it is not there.

    Raises:
        OSError: it can't be had.
    """
    uid = os.geteuid()
    base = environ.get(_XDG, "")
    in_base = os.path.isabs(base) and _owner(base) == uid
    path = os.path.join(base, "prefork") if in_base else _in_tmp(uid)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not _is_private(path, uid):
            raise PermissionError(f"{path} is there, and not this user's alone") from None
    return path


def socket_of(directory: str, pid: int) -> str:
    """The path of a master's control socket in such a directory."""
    return os.path.join(directory, f"{pid}{_SUFFIX}")


def existing(uid: int, environ: Mapping[str, str]) -> Iterator[str]:
    """The directories in which masters of this user may have their sockets."""
    bases = dict.fromkeys((environ.get(_XDG, ""), f"/run/user/{uid}"))
    paths = [os.path.join(base, "prefork") for base in bases if os.path.isabs(base)]
    for path in (*paths, _in_tmp(uid)):
        if _is_private(path, uid):
            yield path


def sockets(directory: str) -> list[str]:
    """The paths of all control sockets in such a directory; of some the master may be dead."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [
        os.path.join(directory, name)
        for name in sorted(names)
        if name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX).isdigit()
    ]


def _in_tmp(uid: int) -> str:
    return f"/tmp/prefork-{uid}"


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:
        return None


def _is_private(path: str, uid: int) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid and not others
