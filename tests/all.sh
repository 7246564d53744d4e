#!/bin/sh
# Every check of this repository, with the tools of the Python on PATH:
# generated files are up to date, all notebooks that are not slow run, and pytest passes.
set -eu
cd "$(dirname "$0")/.."
state() { git status --porcelain; git diff; }
before=$(state)
nbdev-export
nbdev-clean
if [ "$before" != "$(state)" ]; then
    git status --short; git diff --stat
    echo 'nbdev-export or nbdev-clean changed files: commit what they wrote' >&2
    exit 1
fi
OMP_NUM_THREADS=1 nbdev-test --n-workers 2 --timing
python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder tests
