"""The user's cache folder on this machine: obtained files, compiled kernels, what races came to."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

ENVIRONMENT = "SPEEDCORE_CACHE"


def cache_folder(root: Path | str | None = None) -> Path:
    """`root`, else what SPEEDCORE_CACHE names, else the user's own cache folder. It need not exist yet."""
    return Path(root or os.environ.get(ENVIRONMENT) or platformdirs.user_cache_dir("speedcore"))
