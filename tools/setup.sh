#!/usr/bin/env bash
# Everything that `make test` and `make run` need, from a bare machine: Debian packages, the virtual environment,
# the test guest. Each step looks first and does nothing when its result is there; run it as often as you like.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null
export DEBIAN_FRONTEND=noninteractive

say() { printf 'setup: %s\n' "$*"; }
die() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# --- Debian packages -------------------------------------------------------------------------------------------

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# Names on standard output, one a line, of the Debian packages whose files are not there.
missing_packages() {
    command -v qemu-system-x86_64 >/dev/null || echo qemu-system-x86
    command -v qemu-img >/dev/null || echo qemu-utils
    [ -e /usr/share/seabios/bios-256k.bin ] || [ -e /usr/share/qemu/bios-256k.bin ] || echo seabios
    # UEFI for the study's guests.
    [ -e /usr/share/OVMF/OVMF_CODE_4M.fd ] || echo ovmf
    # ldd succeeds for a busybox that needs libraries, which an initramfs does not have.
    if ! command -v busybox >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then echo busybox-static; fi
    PATH=$PATH:/usr/sbin:/sbin command -v mkfs.ext4 >/dev/null || echo e2fsprogs
    command -v gcc >/dev/null || echo gcc
    [ -e /usr/lib/x86_64-linux-gnu/libc.a ] || [ -e /usr/lib64/libc.a ] || echo libc6-dev
    command -v make >/dev/null || echo make
    # A real libvirtd, in which the tests adopt a domain.
    [ -x /usr/sbin/libvirtd ] || command -v libvirtd >/dev/null || echo libvirt-daemon-system
    command -v virsh >/dev/null || echo libvirt-clients
    # For the tests that boot it in a guest; nothing of it runs here.
    [ -x /lib/systemd/systemd ] || echo systemd
    find_python >/dev/null || echo python3 python3-venv
}

install_packages() { # PACKAGE...
    say "installing $*"
    apt-get -qq -o DPkg::Lock::Timeout=300 update || say "the package lists could not be renewed, going on with those that are there"
    apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --no-install-recommends "$@" >/dev/null ||
        die "apt-get install $* failed, see above"
}

# --- Python ----------------------------------------------------------------------------------------------------

is_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# The first Python >= 3.11 that can make environments; else the first one at all.
find_python() {
    local python second=
    for python in ${PYTHON:+"$PYTHON"} python3 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3; do
        is_python "$python" || continue
        if has_venv "$python"; then
            echo "$python"
            return
        fi
        second=${second:-$python}
    done
    [ -n "$second" ] && echo "$second"
}

venv_package() { # PYTHON: the Debian package with what it lacks
    "$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
}

make_environment() {
    local python
    python=$(find_python)
    if ! has_venv "$python"; then
        can_install || die "$python lacks the venv module: as root, apt-get install $(venv_package "$python")"
        install_packages "$(venv_package "$python")"
    fi
    if ! is_python .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        say "making .venv with $("$python" --version)"
        "$python" -m venv --clear .venv
    fi
}

# Locked versions with hashes. A release that can't be had (a mirror without it) is replaced by one from the
# ranges in pyproject.toml, said aloud; a package whose hash is wrong is never.
install_dependencies() {
    local log=.venv/setup.log
    local pip=(.venv/bin/python -m pip --disable-pip-version-check --no-input install --quiet)
    say "installing the Python packages of requirements/dev.txt"
    if ! "${pip[@]}" --require-hashes -r requirements/dev.txt 2>"$log"; then
        cat "$log" >&2
        if grep -q 'DO NOT MATCH THE HASHES' "$log"; then die "a package differs from the one that was locked: not installed"; fi
        say "WARNING: the locked versions can't be installed (see above), taking others that pyproject.toml allows"
        "${pip[@]}" -r requirements/build.in || die "the Python packages could not be installed, see above"
        "${pip[@]}" --no-build-isolation -e '.[dev]' || die "the Python packages could not be installed, see above"
    fi
    "${pip[@]}" --no-deps --no-build-isolation -e . || die "guestroom could not be installed into .venv, see above"
}

# What the environment depends on; the path, because scripts in it name it.
environment_key() {
    { pwd && cat pyproject.toml requirements/* tools/setup.sh; } | sha256sum
}

# --- all of it -------------------------------------------------------------------------------------------------

[ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] || die "guestroom's test guest needs Linux on x86_64, this is $(uname -s)/$(uname -m)"

# Two at once in one checkout take turns.
exec 9>.setup.lock
flock 9 2>/dev/null || say "no flock here: don't run two set-ups at once"

mapfile -t missing < <(missing_packages | tr ' ' '\n')
if [ "${#missing[@]}" -gt 0 ]; then
    can_install || die "these Debian packages are missing: ${missing[*]}" \
        "as root: apt-get install --no-install-recommends ${missing[*]}" "then run this again"
    install_packages "${missing[@]}"
fi

key=$(environment_key)
if [ "$(cat .venv/setup.key 2>/dev/null)" != "$key" ] || [ ! -x .venv/bin/guestroom ] || ! is_python .venv/bin/python; then
    make_environment
    install_dependencies
    printf '%s\n' "$key" >.venv/setup.key
fi

.venv/bin/python tools/image.py .venv/guest-image
say "ready: .venv/bin/guestroom"
