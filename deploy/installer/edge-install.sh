#!/bin/sh
# Installs the runtime from a bundle: no network, no compiler, nothing outside of DEST.
#
#   edge-install.sh install BUNDLE DEST           makes DEST/venv; does nothing when it is there already
#   edge-install.sh run BUNDLE DEST ARGUMENTS...  the same, and then DEST/venv/bin/edge ARGUMENTS...
#
# BUNDLE is what `edge build runtime` makes, or a folder with edge-runtime-ARCHITECTURE.zip in it for each architecture.
# It is only read. Needs python3, 3.11 or newer, and its module venv.
#
# An environment is a folder of its own, DEST/env-HASH-pyXY: of another bundle or another Python it is another one.
# A stamp in it, written when all else is on the disk, says that it is whole; only then does DEST/venv point to it, by
# one rename. So a kill or a power cut at any moment leaves the one of before in place, and the next call goes on. The
# environment of before is kept: what started in it may still run.
set -eu
umask 022
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONDONTWRITEBYTECODE

say() { echo "edge-install: $*" >&2; }
fail() {
    say "$1"
    exit "${2:-1}"
}

usage="usage: $0 install|run BUNDLE DEST [ARGUMENTS...]"
[ $# -ge 3 ] || fail "$usage" 2
verb=$1 bundle=$2 dest=$3
shift 3
case $verb in
install) [ $# -eq 0 ] || fail "$usage" 2 ;;
run) ;;
*) fail "$usage" 2 ;;
esac

python=$(command -v python3) || fail "python3 is not installed; on Debian: apt-get install python3"
[ -e "$bundle" ] || fail "$bundle is missing"
mkdir -p "$dest" || fail "$dest cannot be made; run it as a user who may, or choose another folder"
dest=$(cd "$dest" && pwd -P)

# What is to be there: prints the bundle for this machine, and what its environment is called.
about=$("$python" -I - "$bundle" <<'PYTHON'
import hashlib, os, platform, struct, sys, zipfile

if sys.version_info < (3, 11):
    sys.exit("edge-install: Python 3.11 or newer is needed; python3 is " + platform.python_version())
machine = platform.machine()
if struct.calcsize("P") == 4:  # what runs is 32 bits wide, whatever the kernel is
    machine = {"aarch64": "armv7l", "armv8l": "armv7l"}.get(machine, machine)
path = sys.argv[1]
if os.path.isdir(path):
    path = os.path.join(path, "edge-runtime-%s.zip" % machine)
try:
    with zipfile.ZipFile(path) as bundle:
        manifest = bundle.read("manifest.json")
except FileNotFoundError:
    sys.exit("edge-install: there is no runtime for %s: %s is missing" % (machine, path))
except (OSError, KeyError, zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
    sys.exit("edge-install: %s is no bundle, or damaged: %s" % (path, error))
tag = hashlib.sha256(manifest).hexdigest()[:16]
print(machine)
print("env-%s-py%d%d" % (tag, *sys.version_info[:2]))
print(path)
PYTHON
) || exit 1
machine=$(echo "$about" | sed -n 1p)
name=$(echo "$about" | sed -n 2p)
bundle=$(echo "$about" | sed -n '3,$p')
env=$dest/$name

# Unpacks the bundle into a folder, each file held to the manifest.
unpack() {
    "$python" -I - "$bundle" "$1" "$machine" <<'PYTHON'
import hashlib, json, os, re, sys, zipfile, zlib

bundle, folder, machine = sys.argv[1:]
PATH = re.compile(r"requirements\.lock|wheels/[A-Za-z0-9_.+!-]+\.whl")
MOST = 1 << 30


def wrong(why):
    sys.exit("edge-install: %s: %s" % (bundle, why))


try:
    with zipfile.ZipFile(bundle) as zipped:
        manifest = json.loads(zipped.read("manifest.json"))
        if manifest["format"] != 1 or manifest["name"] != "edge-runtime":
            wrong("it is no bundle of the runtime")
        also = {"armv7l": ("armv6l",)}.get(machine, ())
        if manifest["architecture"] not in (machine, *also):
            wrong("it is for %s, and this machine is %s" % (manifest["architecture"], machine))
        if sum(about["size"] for about in manifest["files"].values()) > MOST:
            wrong("it is larger than any runtime")
        os.makedirs(os.path.join(folder, "wheels"))
        for path, about in manifest["files"].items():
            if not PATH.fullmatch(path):
                wrong("it has a file %r" % path)
            with zipped.open(path) as source:
                data = source.read(about["size"] + 1)
            if len(data) != about["size"] or hashlib.sha256(data).hexdigest() != about["sha256"]:
                wrong("the file %r in it is damaged" % path)
            with open(os.path.join(folder, path), "xb") as target:
                target.write(data)
except (KeyError, TypeError, AttributeError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError,
        NotImplementedError) as error:
    wrong("it is damaged: %s" % error)
except OSError as error:
    wrong("it cannot be unpacked: %s" % error)
PYTHON
}

settle() { sync -f "$dest" 2>/dev/null || sync; }

# Makes the environment. What fails leaves nothing behind but what the next call removes first.
build() {
    say "installing into $env"
    rm -rf "$env" "$dest/.unpacked" "$dest/.tmp"
    mkdir "$dest/.tmp"
    unpack "$dest/.unpacked"
    # The system's packages stay importable: GPIO libraries come from there.
    "$python" -m venv --without-pip --system-site-packages "$env" ||
        fail "python3 cannot make an environment; on Debian: apt-get install python3-venv"
    set -- "$dest"/.unpacked/wheels/pip-*.whl
    # pip runs out of its wheel. Temporary files go where there is room, and where this user may write.
    TMPDIR=$dest/.tmp "$env/bin/python" -I "$1/pip" --isolated --disable-pip-version-check --no-input install --quiet \
        --no-index --no-cache-dir --no-deps --require-hashes --root-user-action ignore --no-warn-script-location \
        --find-links "$dest/.unpacked/wheels" --requirement "$dest/.unpacked/requirements.lock" ||
        fail "the packages in $bundle could not be installed"
    if ! "$env/bin/python" -I -c 'import pydantic, yaml; assert int(pydantic.VERSION.split(".")[0]) >= 2'; then
        fail "pydantic 2 is missing, which has no wheel for $machine; on Raspberry Pi OS: apt-get install python3-pydantic"
    fi
    "$env/bin/edge" --version >&2 || fail "what was installed does not run"
    settle
    : >"$env/.complete"
    settle
}

# Makes a link point to an environment, by one rename. $1: the link, $2: where it points.
point() {
    rm -f "$dest/.link"
    ln -s "$2" "$dest/.link"
    # Not onto it: where it points to a folder, mv would move the new link into that folder.
    "$python" -I -c 'import os, sys; os.replace(*sys.argv[1:])' "$dest/.link" "$dest/$1"
}

now=$(readlink "$dest/venv" || :)
if [ "$now" != "$name" ] || [ ! -f "$env/.complete" ]; then
    # One at a time. The lock is that of file 9, which is open here: it ends with this process.
    (: >"$dest/.lock") 2>/dev/null || fail "$dest cannot be written to; run it as a user who may"
    exec 9>"$dest/.lock"
    "$python" -I -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
    now=$(readlink "$dest/venv" || :)
    [ -f "$env/.complete" ] || build
    if [ "$now" != "$name" ]; then
        [ -z "$now" ] || point venv.before "$now"
        point venv "$name"
        settle
    fi
    before=$(readlink "$dest/venv.before" || :)
    for old in "$dest"/env-*; do
        [ "$old" = "$env" ] || [ "$old" = "$dest/$before" ] || rm -rf "$old"
    done
    rm -rf "$dest/.unpacked" "$dest/.tmp"
    exec 9>&-
fi

[ "$verb" = install ] || exec "$dest/venv/bin/edge" "$@"
