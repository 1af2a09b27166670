"""Addresses as operators write them, and the sockets that come of them."""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefork.errors import UsageError
from prefork.master.addresses import (
    Address,
    InheritedAddress,
    PassedAddress,
    TCPAddress,
    UnixAddress,
    parse_address,
)
from prefork.master.binding import bind_all
from prefork.master.listeners import Listener
from prefork.systemd import PassedSocket

NOBODY = (None, None)

Bind = Callable[..., list[Listener]]


@pytest.fixture
def bind() -> Iterator[Bind]:
    """Binds addresses for the length of the test."""
    bound: list[Listener] = []

    def to(*texts: str, backlog: int = 16, umask: int | None = None) -> list[Listener]:
        listeners = bind_all(list(texts), backlog, umask, NOBODY)
        bound.extend(listeners)
        return listeners

    yield to
    for listener in bound:
        listener.close()


def port_of(listener: Listener) -> int:
    port = listener.sock.getsockname()[1]
    assert isinstance(port, int)
    return port


def connected(listener: Listener, host: str | None = None) -> tuple[socket.socket, socket.socket]:
    """A client of the listener, and the server's end."""
    sock = socket.socket(listener.sock.family, socket.SOCK_STREAM)
    name = listener.sock.getsockname()
    sock.connect((host, name[1]) if host else name)
    listener.sock.setblocking(True)
    return sock, listener.sock.accept()[0]


# Addresses.


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", TCPAddress("127.0.0.1", 8000, "127.0.0.1:8000")),
        ("localhost:0", TCPAddress("localhost", 0, "localhost:0")),
        ("0.0.0.0", TCPAddress("0.0.0.0", 8000, "0.0.0.0")),
        ("[::1]", TCPAddress("::1", 8000, "[::1]")),
        (":8000", TCPAddress("0.0.0.0", 8000, ":8000")),
        ("0.0.0.0:65535", TCPAddress("0.0.0.0", 65535, "0.0.0.0:65535")),
        ("[::]:8000", TCPAddress("::", 8000, "[::]:8000")),
        ("[::1]:8000", TCPAddress("::1", 8000, "[::1]:8000")),
        ("unix:/run/app.sock", UnixAddress("/run/app.sock", "unix:/run/app.sock")),
        ("unix:///run/app.sock", UnixAddress("/run/app.sock", "unix:///run/app.sock")),
        ("fd://3", InheritedAddress(3, "fd://3")),
        ("fd://web.socket", PassedAddress("web.socket", "fd://web.socket")),
    ],
)
def test_an_address_is_understood(text: str, address: Address) -> None:
    assert parse_address(text) == address


def test_a_relative_unix_path_is_made_absolute() -> None:
    address = parse_address("unix:app.sock")
    assert isinstance(address, UnixAddress)
    assert address.path == os.path.join(os.getcwd(), "app.sock")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_address_may_say_what_is_spoken_there(scheme: str) -> None:
    address = parse_address(f"{scheme}://[::1]:8000")
    assert isinstance(address, TCPAddress)
    assert (address.host, address.port, address.scheme) == ("::1", 8000, scheme)


def test_tls_can_be_spoken_only_with_a_certificate() -> None:
    with pytest.raises(UsageError, match="there is no \\[tls\\] certificate"):
        bind_all(["https://127.0.0.1:0"], 16, None, NOBODY)


MALFORMED = [
    *("", "8000", "localhost", "localhost:", "localhost:http", "localhost:65536", "::1:8000"),
    *("[::1:8000", "::1]:8000", "127.0.0.1:8000/", "a:1\n"),
    *("localhost:-1", "unix:", "unix://", "fd://", "fd://x:", "fd://-1", "fd://²"),
]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_address_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"bind = {text}: expected host:port")):
        parse_address(text)


# TCP.


@pytest.mark.parametrize(
    ("text", "url", "name"),
    [
        ("127.0.0.1:0", "http://127.0.0.1:{}", "127.0.0.1"),
        ("localhost:0", r"http://127.0.0.1:{}", "127.0.0.1"),
        ("[::1]:0", "http://[::1]:{}", "::1"),
        (":0", "http://0.0.0.0:{}", "0.0.0.0"),
        ("[::]:0", "http://[::]:{}", "::"),
    ],
)
def test_a_tcp_listener_tells_its_url_with_the_port_that_the_kernel_chose(
    bind: Bind, text: str, url: str, name: str
) -> None:
    (listener,) = bind(text)
    port = port_of(listener)
    assert port != 0
    if text.startswith("localhost"):
        assert listener.info.name in ("127.0.0.1", "::1")
        return
    assert str(listener) == url.format(port)
    assert (listener.info.name, listener.info.port) == (name, str(port))


def test_ipv6_alone_serves_ipv4_too(bind: Bind) -> None:
    (listener,) = bind("[::]:0")
    for sock in connected(listener, "::1"):
        sock.close()
    with socket.create_connection(("127.0.0.1", port_of(listener))):
        pass


def test_ipv4_and_ipv6_share_a_port(bind: Bind) -> None:
    (first,) = bind("0.0.0.0:0")
    port = port_of(first)
    first.close()
    both = bind(f"0.0.0.0:{port}", f"[::]:{port}")
    assert [listener.sock.family for listener in both] == [socket.AF_INET, socket.AF_INET6]
    for listener, host in zip(both, ("127.0.0.1", "::1"), strict=True):
        for sock in connected(listener, host):
            sock.close()


def test_each_of_several_addresses_is_bound_in_the_order_of_the_setting(
    bind: Bind, tmp_path: Path
) -> None:
    listeners = bind("127.0.0.1:0", f"unix:{tmp_path}/s", "127.0.0.1:0")
    families = [listener.sock.family for listener in listeners]
    assert families == [socket.AF_INET, socket.AF_UNIX, socket.AF_INET]
    assert port_of(listeners[0]) != port_of(listeners[2])


def test_accepted_connections_send_without_delay(bind: Bind) -> None:
    (listener,) = bind("127.0.0.1:0")
    client, accepted = connected(listener)
    with client, accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_backlog_is_what_the_kernel_was_told(bind: Bind) -> None:
    (listener,) = bind("127.0.0.1:0", backlog=7)
    info = listener.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    # Of a listening socket, tcpi_sacked is the backlog: tcp_diag.c of the kernel.
    assert int.from_bytes(info[28:32], "little") == 7


def test_a_listener_never_blocks_and_is_not_inherited_by_programs(bind: Bind) -> None:
    (listener,) = bind("127.0.0.1:0")
    assert not listener.sock.getblocking()
    assert not listener.sock.get_inheritable()


def test_a_port_with_connections_of_an_earlier_server_can_be_bound_again(bind: Bind) -> None:
    (earlier,) = bind("127.0.0.1:0")
    port = port_of(earlier)
    client, accepted = connected(earlier)
    with client:
        accepted.close()  # the server closes first: its end stays in TIME_WAIT
        earlier.close()
        (later,) = bind(f"127.0.0.1:{port}")
        assert port_of(later) == port


def test_a_taken_port_is_refused_in_words(bind: Bind) -> None:
    (listener,) = bind("127.0.0.1:0")
    text = f"127.0.0.1:{port_of(listener)}"
    with pytest.raises(UsageError, match=f"^bind = {text}: Address already in use$"):
        bind(text)


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1:0",  # TEST-NET-1, RFC 5737: nobody has it
        ".example:0",
        f"{'a' * 64}.example:0",
        "a\0b:0",
    ],
)
def test_a_host_that_is_not_ours_or_is_none_is_refused_in_words(bind: Bind, text: str) -> None:
    with pytest.raises(UsageError, match=rf"(?s)^bind = {re.escape(text)}: \w"):
        bind(text)


def test_when_one_address_cannot_be_bound_none_is(bind: Bind, tmp_path: Path) -> None:
    (taken,) = bind("127.0.0.1:0")
    path = tmp_path / "s"
    with pytest.raises(UsageError):
        bind(f"unix:{path}", f"127.0.0.1:{port_of(taken)}")
    assert not path.exists()


def test_when_one_address_is_malformed_none_is_bound(bind: Bind, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        bind(f"unix:{tmp_path}/s", "nonsense")
    assert list(tmp_path.iterdir()) == []


# Unix sockets.


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o777), (0o007, 0o770), (0o117, 0o660)])
def test_the_umask_decides_on_the_mode_of_a_unix_socket(
    bind: Bind, tmp_path: Path, umask: int, mode: int
) -> None:
    bind(f"unix:{tmp_path}/s", umask=umask)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode


def test_without_a_umask_the_process_own_counts(bind: Bind, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        bind(f"unix:{tmp_path}/s")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o750


def test_binding_leaves_the_umask_of_the_process_as_it_was(bind: Bind, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        bind(f"unix:{tmp_path}/s", umask=0o177)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_a_stale_unix_socket_is_replaced(bind: Bind, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(path))
    (listener,) = bind(f"unix:{path}")
    for sock in connected(listener):
        sock.close()


def test_a_unix_socket_on_which_somebody_listens_is_refused(bind: Bind, tmp_path: Path) -> None:
    (live,) = bind(f"unix:{tmp_path}/s")
    with pytest.raises(UsageError, match=r"/s: Address already in use$"):
        bind(f"unix:{tmp_path}/s")
    for sock in connected(live):
        sock.close()


def test_a_unix_socket_with_a_full_backlog_is_not_taken_for_stale(
    bind: Bind, tmp_path: Path
) -> None:
    (live,) = bind(f"unix:{tmp_path}/s", backlog=1)
    clients = []
    while True:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        clients.append(client)
        if client.connect_ex(live.sock.getsockname()):
            break
    with pytest.raises(UsageError, match="Address already in use"):
        bind(f"unix:{tmp_path}/s")
    assert (tmp_path / "s").exists()
    for client in clients:
        client.close()


@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "dangling link"])
def test_a_path_that_is_no_socket_is_refused_and_left_alone(
    bind: Bind, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "s"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
    before = path.lstat()
    with pytest.raises(UsageError, match=r"/s: exists and is not a socket$"):
        bind(f"unix:{path}")
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)


@pytest.mark.parametrize("path", ["{}/absent/s", "{}/" + "x" * 120, "{}/a\0b"])
def test_a_path_that_cannot_be_bound_is_refused_in_words(
    bind: Bind, tmp_path: Path, path: str
) -> None:
    text = "unix:" + path.format(tmp_path)
    with pytest.raises(UsageError, match=rf"(?s)^bind = {re.escape(text)}: \w"):
        bind(text)


def test_a_unix_socket_has_a_server_name_and_port_for_the_app(bind: Bind, tmp_path: Path) -> None:
    (listener,) = bind(f"unix:{tmp_path}/s")
    assert str(listener) == f"unix:{tmp_path}/s"
    assert (listener.info.name, listener.info.port) == ("localhost", "80")


def test_closing_removes_the_socket_file(bind: Bind, tmp_path: Path) -> None:
    (listener,) = bind(f"unix:{tmp_path}/s")
    listener.close()
    assert not (tmp_path / "s").exists()


def test_closing_leaves_the_socket_file_of_another_server_alone(bind: Bind, tmp_path: Path) -> None:
    (first,) = bind(f"unix:{tmp_path}/s")
    (tmp_path / "s").rename(tmp_path / "old")
    (second,) = bind(f"unix:{tmp_path}/s")
    first.close()
    assert (tmp_path / "s").exists()
    for sock in connected(second):
        sock.close()


def test_closing_survives_that_the_socket_file_is_gone(bind: Bind, tmp_path: Path) -> None:
    (listener,) = bind(f"unix:{tmp_path}/s")
    (tmp_path / "s").unlink()
    listener.close()


# Inherited sockets.


def test_an_inherited_socket_is_adopted(bind: Bind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        name = given.getsockname()
        fd = os.dup(given.fileno())
        os.set_inheritable(fd, True)
        (listener,) = bind(f"fd://{fd}")
        assert listener.sock.fileno() == fd
        assert listener.sock.getsockname() == name
        assert not listener.sock.get_inheritable()
        client, accepted = connected(listener)
        with client, accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_file_of_an_inherited_unix_socket_stays_when_it_is_closed(
    bind: Bind, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as given:
        given.bind(str(tmp_path / "s"))
        given.listen()
        (listener,) = bind(f"fd://{os.dup(given.fileno())}")
        listener.close()
        assert (tmp_path / "s").exists()


def test_a_name_means_all_passed_sockets_that_have_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as two:
        fds = [os.dup(one.fileno()), os.dup(two.fileno()), os.dup(two.fileno())]
        passed = [
            PassedSocket(fd, name) for fd, name in zip(fds, ["web", "api", "web"], strict=True)
        ]
        listeners = bind_all(["fd://web"], 16, None, NOBODY, passed=passed)
        assert [listener.sock.fileno() for listener in listeners] == [fds[0], fds[2]]
        for listener in listeners:
            listener.close()
        for wrong in (["fd://admin"], [f"fd://{fds[1]}", "fd://api"]):
            with pytest.raises(UsageError, match=r"no socket of that name|given twice"):
                bind_all(wrong, 16, None, NOBODY, passed=passed)
        os.close(fds[1])


@pytest.mark.parametrize("kind", ["pipe", "datagram", "not listening", "closed", "too large"])
def test_an_inherited_fd_that_is_no_listening_socket_is_refused(bind: Bind, kind: str) -> None:
    read, write = os.pipe()
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    gone = os.dup(read)
    os.close(gone)
    fds = {
        "pipe": read,
        "datagram": datagram.fileno(),
        "not listening": stream.fileno(),
        "closed": gone,
        "too large": 10**20,
    }
    with pytest.raises(UsageError, match=rf"^bind = fd://{fds[kind]}: \w"):
        bind(f"fd://{fds[kind]}")
    os.fstat(read)  # what was refused is still open
    datagram.close()
    stream.close()
    os.close(read)
    os.close(write)


def test_the_same_address_twice_is_refused(bind: Bind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        fd = os.dup(given.fileno())
        with pytest.raises(UsageError, match=rf"^bind = fd://{fd}: "):
            bind(f"fd://{fd}", f"fd://{fd}")
