#!/usr/bin/env bash
# Every check there is, each carried out even when one before it failed. pytest speaks last.
#   tools/test.sh         format, lint, types, import contracts, all tests
#   tools/test.sh lint    format, lint, types, import contracts
#   tools/test.sh unit    the tests that need no QEMU and no cgroup
#   tools/test.sh inguest the tests that need cgroup v2, on a kernel booted for them
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=.venv/bin
failed=()

check() { # NAME COMMAND...
    local name=$1
    shift
    printf '== %s: %s\n' "$name" "$*"
    "$@" </dev/null || failed+=("$name")
}

lint() {
    check format $bin/ruff format --check --quiet .
    check lint $bin/ruff check --quiet .
    check types $bin/mypy
    check imports $bin/lint-imports --no-cache
}

# Two workers: the machines this runs on have two cores, and a third only makes timings worse.
quick_tests() {
    check tests $bin/pytest -q -n 2 -m "not integration and not kernel" --hypothesis-profile=steady --must-run-any
}

# One after the other: real guests and real cgroups share one host's memory.
host_tests() {
    check host-tests $bin/pytest -q -n 0 -m "integration or kernel" --hypothesis-profile=steady \
        --must-run integration --must-run kernel
}

# A kernel of its own: neither this host's version of cgroups nor its limits matter.
inguest_tests() {
    check inguest-tests $bin/python tools/inguest.py
}

case "${1:-all}" in
lint) lint ;;
unit) quick_tests ;;
inguest) inguest_tests ;;
all)
    lint
    quick_tests
    host_tests
    inguest_tests
    ;;
*)
    echo "usage: tools/test.sh [lint|unit|inguest|all]" >&2
    exit 2
    ;;
esac

if [ "${#failed[@]}" -gt 0 ]; then
    echo "FAILED: ${failed[*]}" >&2
    exit 1
fi
