#!/bin/sh
# Writes requirements.lock from pyproject.toml: every version pinned, every file by its hash, for every platform and
# Python that pyproject.toml admits. No addresses are written: where packages come from is each machine's own affair.
set -eu
cd "$(dirname "$0")/.."

uv=.venv/bin/uv
[ -x "$uv" ] || { sh scripts/setup.sh && [ -x "$uv" ]; }

exec "$uv" pip compile pyproject.toml --extra test --group setup --output-file requirements.lock \
    --universal --python-version 3.11 --generate-hashes --no-config --no-emit-index-url --no-emit-find-links \
    --custom-compile-command 'make lock' --quiet "$@"
