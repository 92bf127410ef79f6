#!/usr/bin/env bash
# Renews requirements/dev.txt: the newest versions pyproject.toml allows, with hashes, and no index address.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
.venv/bin/python -m pip --disable-pip-version-check install --quiet uv
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
.venv/bin/python -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --no-annotate --extra dev pyproject.toml requirements/build.in -o "$fresh"
{
    # shellcheck disable=SC2016
    echo '# Locked versions for development and CI, with hashes and without any index address. Made by `make lock`.'
    cat "$fresh"
} >requirements/dev.txt
echo "lock: $(grep -c == requirements/dev.txt) packages in requirements/dev.txt"
