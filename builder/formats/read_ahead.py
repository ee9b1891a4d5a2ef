"""An iterator that runs in a thread of its own, a few items ahead of whoever takes them.

One stage of a pipeline after another: the bound is the back-pressure, and an error comes out where the item that it
befell would have, after all items before it.
"""

import collections
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

_PATIENCE = 2.0
"""Seconds that an interrupt waits for an item in hand, which may hang on a network."""


class ReadAhead(Generic[Item]):
    """Use it as a context manager; on leaving, the thread has ended, after the item that it had in hand.

    Only an interrupt does not wait for an item that does not come: the thread is left behind then, and ends with it.
    """

    def __init__(self, items: Iterator[Item], *, ahead: int = 4, name: str = "read-ahead") -> None:
        self._items = items
        self._ahead = ahead
        self._ready: collections.deque[Item] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False
        self._ended = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> "ReadAhead[Item]":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        interrupted = kind is not None and not issubclass(kind, Exception)
        self._thread.join(_PATIENCE if interrupted else None)

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended)
            if self._ready:
                item = self._ready.popleft()
                self._changed.notify_all()
                return item
        if self._failure is not None:
            raise self._failure
        raise StopIteration

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._hand_over(item):
                    break
        except BaseException as error:  # it is raised where the items are taken
            self._failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _hand_over(self, item: Item) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: len(self._ready) < self._ahead or self._closed)
            self._ready.append(item)
            self._changed.notify_all()
            return not self._closed
