"""LoRA adapters as files: digests of an adapter and of its base model. No torch.

An adapter is a folder in peft's format: `adapter_config.json` and `adapter_model.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from colm.models.errors import ModelUnusable

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
#: Key in the metadata of the safetensors file: `base_sha256` of the model that was trained.
BASE_KEY = "colm.base_sha256"

#: Keys of a model's config.json that change without the model: the library's version, the path.
_VOLATILE = {"transformers_version", "_name_or_path"}
_HEADER_SIZE = 8

Signature = tuple[tuple[int, int, int], ...]


def adapter_sha256(config: dict[str, Any], weights: bytes) -> str:
    """SHA-256 of an adapter: the config's canonical JSON, a line feed, the safetensors bytes."""
    return hashlib.sha256(_canonical(config) + b"\n" + weights).hexdigest()


def digest_of_folder(folder: Path) -> str:
    """`adapter_sha256` of the files in `folder`. Raises OSError or ValueError."""
    config = json.loads((folder / CONFIG_FILE).read_bytes())
    return adapter_sha256(config, (folder / WEIGHTS_FILE).read_bytes())


def configured_adapter(name: str) -> str:
    """The digest of the adapter in the folder `name`; `name` where its files are elsewhere."""
    signature = signature_of(name)
    try:
        return name if signature is None else _digest_once(name, signature)
    except (OSError, ValueError):
        return name


@lru_cache(maxsize=256)
def _digest_once(folder: str, _signature: Signature) -> str:
    return digest_of_folder(Path(folder))


def signature_of(folder: str) -> Signature | None:
    """Changes with the files of an adapter; None where one is missing."""
    try:
        stats = [os.stat(Path(folder) / name) for name in (CONFIG_FILE, WEIGHTS_FILE)]
    except OSError:
        return None
    return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats)


def base_sha256(source: Path) -> str:
    """SHA-256 of a model folder's config and weights, or of a .gguf file.

    The tensors count, not how they are spread over files. Raises ModelUnusable for a folder without
    weights that can be read.
    """
    try:
        if source.is_file():
            return _sha256_of_file(source)
        config = json.loads((source / "config.json").read_bytes())
        digest = hashlib.sha256(_canonical({k: config[k] for k in config.keys() - _VOLATILE}))
        files = sorted(source.glob("*.safetensors"))
        for name, part in sorted(_tensor_digests(files)):
            digest.update(f"\n{name} {part}".encode())
        if not files:
            for file in sorted(source.glob("*.bin")):
                digest.update(f"\n{file.name} {_sha256_of_file(file)}".encode())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnusable(f"the digest of {source} cannot be computed: {error}") from error
    return digest.hexdigest()


class SafetensorsHeader(NamedTuple):
    """The header of a safetensors file: metadata, tensors and where their bytes start."""

    metadata: dict[str, str]
    #: dtype, shape and data_offsets of each tensor.
    tensors: dict[str, Any]
    #: Offset of the first tensor's bytes.
    start: int


def read_header(data: bytes | mmap.mmap) -> SafetensorsHeader:
    """Raises ValueError."""
    size = int.from_bytes(data[:_HEADER_SIZE], "little")
    start = _HEADER_SIZE + size
    if start > len(data):
        raise ValueError("the file ends within its header")
    tensors = json.loads(data[_HEADER_SIZE:start])
    return SafetensorsHeader(tensors.pop("__metadata__", {}), tensors, start)


def _tensor_digests(files: list[Path]) -> Iterator[tuple[str, str]]:
    for file in files:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as data:
            header = read_header(data)
            for name, entry in header.tensors.items():
                begin, end = (header.start + offset for offset in entry["data_offsets"])
                digest = hashlib.sha256(_canonical([entry["dtype"], entry["shape"]]))
                with memoryview(data) as view, view[begin:end] as tensor:
                    digest.update(tensor)
                yield name, digest.hexdigest()


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
