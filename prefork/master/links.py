"""The links that there are, and which of them borrow connections."""

from __future__ import annotations

from collections.abc import Iterator

from prefork.master.lending import Lending
from prefork.master.life import Worker
from prefork.master.link import Link, MoldLink, WorkerLink


class Links:
    """The links to all workers and molds.

    Args:
        lending: whoever is a worker borrows there.
    """

    def __init__(self, lending: Lending) -> None:
        self._lending = lending
        self._links: dict[Worker, Link] = {}

    def __len__(self) -> int:
        return len(self._links)

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    def __contains__(self, link: Link) -> bool:
        return link.worker in self._links

    def __getitem__(self, worker: Worker) -> Link:
        return self._links[worker]

    def add(self, link: Link) -> None:
        """There is another one."""
        self._links[link.worker] = link

    def remove(self, link: Link) -> None:
        """Its process is gone: nothing is lent to the dead."""
        del self._links[link.worker]
        self.leave(link)

    def of_process(self, pid: int) -> Link | None:
        """Whose process it is."""
        return next((each for each in self if each.worker.id.pid == pid), None)

    def mold_of(self, generation: int) -> MoldLink | None:
        """The mold that this generation's workers are forked from."""
        for link in self:
            if isinstance(link, MoldLink) and link.worker.id.generation == generation:
                return link
        return None

    def unborn(self) -> list[Link]:
        """Those whom a mold is forking, of which nothing is known yet."""
        return [link for link in self if not link.born]

    def workers(self) -> list[WorkerLink]:
        """The workers, by slot, and in a slot by generation."""
        found = [link for link in self if isinstance(link, WorkerLink)]
        return sorted(found, key=lambda link: (link.worker.slot, link.worker.id.generation))

    def join(self, link: Link) -> None:
        """It serves: if it is a worker, it may borrow."""
        if isinstance(link, WorkerLink) and not link.stopped:
            self._lending.join(link)

    def leave(self, link: Link) -> None:
        """It borrows no more."""
        if isinstance(link, WorkerLink):
            self._lending.leave(link)
