"""The adapters in memory: the least recently used leaves, never one in use. Pure: no torch."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from colm.models.adapters import Signature, signature_of
from colm.models.errors import ModelUnusable

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class _Entry(Generic[T]):
    adapter: T
    signature: Signature | None
    #: Of a newer version that could not be read.
    refused: Signature | None = None


class AdapterCache(Generic[T]):
    """At most `limit` adapters, each read again when the files in its folder change."""

    def __init__(
        self, read: Callable[[str], T], limit: int, *, on_evict: Callable[[], object]
    ) -> None:
        self._read = read
        self._limit = limit
        self._on_evict = on_evict
        self._entries: OrderedDict[str, _Entry[T]] = OrderedDict()

    def get(self, folder: str, in_use: Collection[T] = ()) -> T | None:
        """The adapter in `folder`, in its newest version; None: wait until one in use is not.

        `in_use`: the adapters of running requests. A newer version that cannot be used is logged,
        and the older stays. Raises ModelUnusable where there is none yet.
        """
        entry, signature = self._entries.get(folder), signature_of(folder)
        if entry is not None and signature in (entry.signature, entry.refused):
            self._entries.move_to_end(folder)
            return entry.adapter
        if not self._make_room(folder, in_use):
            return None
        try:
            adapter = self._read(folder)
        except ModelUnusable as error:
            if entry is None:
                raise
            log.warning("%s. The version before it stays in use", error)
            self._entries[folder] = replace(entry, refused=signature)
            return entry.adapter
        # Files that changed while they were read are read again at the next request.
        stable = signature if signature_of(folder) == signature else None
        self._entries[folder] = _Entry(adapter=adapter, signature=stable)
        self._entries.move_to_end(folder)
        if entry is not None:
            log.info("a new version of the adapter %s is in use", folder)
            self._on_evict()
        return adapter

    def peek(self, folder: str) -> T | None:
        """The version that was read last."""
        entry = self._entries.get(folder)
        return None if entry is None else entry.adapter

    def clear(self) -> None:
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _make_room(self, folder: str, in_use: Collection[T]) -> bool:
        """Evict until one more fits; a version of `folder` that nobody uses needs no room."""
        others = [name for name in self._entries if name != folder]
        held = {*in_use, *(self._entries[name].adapter for name in others)}
        for name in others:
            if len(held) < self._limit:
                break
            if self._entries[name].adapter not in in_use:
                held.discard(self._entries.pop(name).adapter)
                self._on_evict()
        return len(held) < self._limit
