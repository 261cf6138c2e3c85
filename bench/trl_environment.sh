#!/usr/bin/env bash
# Builds the environment in which TRL serves as the outside reference, and prints its python.
# TRL pins tightly, so it never shares an environment with this project; torch must be the same
# version in both for the numbers to be comparable. TRL is pinned because the reference script of
# the objectives calls its private methods.
set -euo pipefail

bench="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
environment="$bench/.venv-trl"
python="$environment/bin/python"

if ! "$python" -c "import trl" >/dev/null 2>&1; then
    python3 -m venv "$environment" >&2
    "$environment/bin/pip" install --quiet uv >&2
    UV_FIND_LINKS="${PIP_FIND_LINKS:-}" \
        "$environment/bin/uv" pip install --python "$python" "torch==2.13.0" "trl==1.16.0" >&2
fi
echo "$python"
