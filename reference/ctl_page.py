"""The man page preforkctl(1)."""

from __future__ import annotations

from prefork.ctl.failure import EXIT_STATUS
from prefork.ctl.main import parser
from reference import roff
from reference.options import commands, options

_DESCRIPTION = """\
Asks the master of a running prefork what it does, and tells it what to do, over its control socket.
It finds the only master of this user by itself; where there are several, an option says which one.

`reload --wait` is made for scripts that deploy: it ends with status 0 only if every slot runs the
new code. A reload that is asked for while another is under way comes after that, and is what is
waited for. If the connection is lost because the master upgrades itself, it is asked for again.

In a terminal, and with the package `rich` (the extra `ctl`), it uses colours. With `--json` all is
written as JSON objects, one on each line: what the master has said, and `error` at the end where
the status is not 0.
"""

_FILES = {
    "$XDG_RUNTIME_DIR/prefork/PID.sock, /tmp/prefork-UID/PID.sock": "Control sockets, where the "
    "setting `control_socket` says nothing else.",
}

_EXAMPLES = """\
Deploy, and see whether that has worked:

    preforkctl reload --wait || exit 1

What hangs there?

    preforkctl stacks

Two workers more:

    preforkctl -c mysite.toml scale +2
"""


def page() -> str:
    """The page, in roff."""
    command = parser()
    synopsis = rf"{roff.bold('preforkctl')} [\fIoptions\fR] \fICOMMAND\fR [\fIoptions\fR]"
    return roff.page(
        "preforkctl",
        1,
        {
            "NAME": [r"preforkctl \- steer a running prefork, and see what it does"],
            "SYNOPSIS": [rf"{synopsis} [\fIarguments\fR]"],
            "DESCRIPTION": roff.prose(_DESCRIPTION),
            "COMMANDS": commands(command),
            "OPTIONS": options(command._actions),
            "EXIT STATUS": roff.definitions({str(code): why for code, why in EXIT_STATUS.items()}),
            "FILES": roff.definitions(_FILES),
            "EXAMPLES": roff.prose(_EXAMPLES),
            "SEE ALSO": roff.see("prefork(1)", "prefork.toml(5)"),
        },
    )
