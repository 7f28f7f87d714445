"""A stand-in for a second file system: mounting one takes rights that tests do not have."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Protocol

from onex_mesh.effect.adapters.files import transfer


class _Rename(Protocol):
    def __call__(self, name: str, to: str, *, src_dir_fd: int, dst_dir_fd: int) -> None: ...


def separate_file_systems(set_attribute: Callable[[object, str, object], object]) -> None:
    """Lets the kernel refuse to rename a file named "a", as it does where the new name is on another file system.

    Args:
        set_attribute: setattr, or that of pytest's monkeypatch.
    """
    rename_new = transfer.rename_new
    rename: _Rename = os.rename

    def new(name: str, folder: int, to: str, to_folder: int) -> None:
        _require_same(name)
        rename_new(name, folder, to, to_folder)

    def replacing(name: str, to: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        _require_same(name)
        rename(name, to, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    set_attribute(transfer, "rename_new", new)
    set_attribute(os, "rename", replacing)


def _require_same(name: str) -> None:
    if name == "a":
        raise OSError(errno.EXDEV, "Invalid cross-device link")
