#!/bin/sh
# Makes Debian roots for ARM in a folder, for tests/system/test_arm.py: packages unpacked, nothing configured.
# Needs root, mmdebstrap, and qemu-user-static with binfmt_misc; what is there already stays.
set -eu
roots=$1
suite=trixie
mkdir -p "$roots"
[ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
for name in qemu-aarch64 qemu-arm; do
    if [ ! -e "/proc/sys/fs/binfmt_misc/$name" ]; then
        tr -d '\n' <"/usr/lib/binfmt.d/$name.conf" >/proc/sys/fs/binfmt_misc/register
    fi
done
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    grep -E '^(URIs:|deb )' | grep -oE '[a-z+]+://[^ ]+' | grep -v security | head -n 1)
for architecture in arm64 armhf; do
    root=$roots/$architecture
    [ ! -e "$root/.complete" ] || continue
    rm -rf "$root"
    # A package that has no wheel for ARMv6 comes from the system, as it does on a Raspberry Pi.
    more=
    [ "$architecture" != armhf ] || more=,python3-pydantic
    # shellcheck disable=SC2016 # $1 is for the shell that mmdebstrap starts
    mmdebstrap --mode=root --variant=extract --architectures="$architecture" \
        --include="dash,coreutils,sed,procps,openssl,ca-certificates,tzdata,python3,python3-venv$more" \
        --setup-hook='for d in bin sbin lib; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done' \
        "$suite" "$root" "deb $mirror $suite main"
    : >"$root/.complete"
done
