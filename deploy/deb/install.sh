#!/bin/sh
# Installs the edge runtime on Debian, Raspberry Pi OS or Ubuntu from a signed apt repository, and keeps it updatable:
#
#   sh install.sh https://packages.example.org/edge [SHA-256 OF THE KEY]
#
# Three steps, each said before it is done: the key, the source, apt-get install. It asks nothing and may be run again.
# All is in a function that the last line calls: of a download that was cut nothing runs.
set -eu

key=/etc/apt/keyrings/edge-runtime.asc
list=/etc/apt/sources.list.d/edge-runtime.sources

say() { printf '==> %s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2 && exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

fetch() { # what, into which file
    case $1 in
    file:///*) cp -- "${1#file://}" "$2" ;; # a USB stick
    https://*) if command -v curl >/dev/null; then curl -fsSL --proto =https "$1" -o "$2"; else wget -qO "$2" "$1"; fi ;;
    *) fail "$1 is neither https:// nor file:///" ;;
    esac || fail "$1 cannot be had"
}

known_system() {
    [ -r /etc/os-release ] || fail "there is no /etc/os-release; where there is no apt, use pipx and the wheel"
    # shellcheck source=/dev/null
    system=$(. /etc/os-release && echo "$ID ${ID_LIKE-}")
    case " $system " in
    *" debian "* | *" ubuntu "* | *" raspbian "*) ;;
    *) fail "there are packages for Debian and its kin, and this is $system; use pipx and the wheel" ;;
    esac
    case $(dpkg --print-architecture) in
    amd64 | arm64 | armhf) ;;
    *) fail "there are no packages for $(dpkg --print-architecture)" ;;
    esac
}

main() {
    [ $# -ge 1 ] || fail "usage: sh install.sh REPOSITORY [SHA-256 OF ITS KEY]"
    repository=${1%/}
    known_system
    fetched=$(mktemp)
    trap 'rm -f "$fetched"' EXIT
    say "1/3 the key that signs the packages: $repository/edge-runtime.asc, as $key"
    fetch "$repository/edge-runtime.asc" "$fetched"
    sum=$(sha256sum <"$fetched" | cut -d' ' -f1)
    [ "${2:-$sum}" = "$sum" ] || fail "the key has the SHA-256 $sum, and not ${2-}: nothing was changed"
    as_root install -D -m 644 "$fetched" "$key"
    say "2/3 the source of packages: $list"
    printf 'Types: deb\nURIs: %s\nSuites: ./\nSigned-By: %s\n' "$repository" "$key" | as_root tee "$list" >/dev/null
    say "3/3 apt-get install edge-runtime"
    as_root apt-get update -o "Dir::Etc::SourceList=$list" -o Dir::Etc::SourceParts=/dev/null -o APT::Get::List-Cleanup=0
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y edge-runtime
    say "it runs: sudo edge status"
}

main "$@"
