"""What a process can ask of the kernel about itself: limits, CPUs, users, titles."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import resource

from setproctitle import setproctitle

from prefork.cgroups import cpu_quota
from prefork.errors import UsageError
from prefork.settings import Settings

_PR_SET_CHILD_SUBREAPER = 36


def raise_file_limit() -> None:
    """Raise RLIMIT_NOFILE to its hard limit: a connection is an fd."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def file_limit() -> int:
    """How many fds this process may have: RLIMIT_NOFILE."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def most_connections(settings: Settings) -> int:
    """How many connections a worker may have: others of its fds are the app's."""
    return min(settings.worker_connections, file_limit() // 2)


def limit_connections(settings: Settings) -> int:
    """How many connections the master may have: others of its fds are files and channels."""
    half = file_limit() // 2
    return min(settings.limit_connections or half, half)


def beyond_file_limit(settings: Settings) -> list[str]:
    """The settings that ask for more connections than RLIMIT_NOFILE leaves room for."""
    half = file_limit() // 2
    names = ("worker_connections", "limit_connections")
    return [name for name in names if getattr(settings, name) > half]


def usable_cpus() -> int:
    """The CPUs that this process may use: by its affinity and its cgroups' quotas, of which a part
    of a CPU does not count; at least 1."""
    cpus = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    return cpus if quota is None else max(1, min(cpus, int(quota)))


def title(settings: Settings, who: str) -> None:
    """Name this process in ps(1), such as `prefork: worker 2 gen 3 [myapp:app]`."""
    setproctitle(f"prefork: {who} [{settings.proc_name or settings.app}]")


def user_and_group(settings: Settings) -> tuple[int | None, int | None]:
    """The ids that the settings `user` and `group` name; None for what stays as it is.

    Raises:
        UsageError: there is no such user or group.
    """
    user = group = None
    if settings.user:
        name = settings.user
        try:
            entry = pwd.getpwuid(int(name)) if _is_number(name) else pwd.getpwnam(name)
        except (KeyError, OverflowError):
            raise UsageError(f"user = {name}: no such user", "user") from None
        user, group = entry.pw_uid, entry.pw_gid
    if settings.group:
        name = settings.group
        try:
            group = (grp.getgrgid(int(name)) if _is_number(name) else grp.getgrnam(name)).gr_gid
        except (KeyError, OverflowError):
            raise UsageError(f"group = {name}: no such group", "group") from None
    return user, group


def adopt_orphans() -> None:
    """Become the parent of what descendants of this process leave behind: prctl(2),
    PR_SET_CHILD_SUBREAPER.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def in_the_foreground() -> bool:
    """Whether this process is in the foreground of a terminal."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def become(user: int | None, group: int | None) -> None:
    """Give up this process's user and group for others, for good.

    Raises:
        PermissionError: only root may.
    """
    if user in (None, os.geteuid()) and group in (None, os.getegid()):
        return
    if group is not None:
        os.setgid(group)
    if user is not None:
        os.initgroups(pwd.getpwuid(user).pw_name, group if group is not None else os.getgid())
        os.setuid(user)


def close_all_fds_but(keep: set[int]) -> None:
    """Close every fd above standard error but these."""
    low = 3
    for fd in sorted(keep):
        if fd >= low:
            os.closerange(low, fd)
            low = fd + 1
    os.closerange(low, file_limit())


def open_standard_streams() -> None:
    """Make sure that fds 0 to 2 are taken, if only by /dev/null: whatever got one of these numbers
    otherwise, a client's connection say, would be written to as if it were standard error."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
