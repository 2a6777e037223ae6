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
machine=$(printf '%s\n' "$about" | sed -n 1p)
name=$(printf '%s\n' "$about" | sed -n 2p)
bundle=$(printf '%s\n' "$about" | sed -n '3,$p')
env=$dest/$name

# Makes the environment: the wheels that the lock names and that fit this Python, each held to three lists of hashes:
# that of the bundle, that of the lock, and its own. What installs comes in the bundle too: `packaging` knows which wheel
# fits, `installer` lays it out. Of the bundle only what is needed is read, and a wheel goes from there to its place.
fill() {
    "$python" -I - "$bundle" "$1" "$2" "$machine" <<'PYTHON'
import hashlib, io, json, os, re, sys, sysconfig, zipfile, zlib

bundle, tools, env, machine = sys.argv[1:]
PATH = re.compile(r"requirements\.lock|wheels/[A-Za-z0-9_.+!-]+\.whl")
PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)((?: --hash=sha256:[0-9a-f]{64})+)")
TOOLS = ("installer", "packaging")
MOST = 1 << 30
DAMAGED = (KeyError, TypeError, AttributeError, ValueError, AssertionError, zipfile.BadZipFile, zlib.error, EOFError,
    RuntimeError, NotImplementedError)
here = "%s and Python %d.%d" % (machine, *sys.version_info[:2])


def wrong(why):
    sys.exit("edge-install: %s: %s" % (bundle, why))


class Wheel(io.BytesIO):
    """A wheel that is on no disk."""

    name = ""


def listed(zipped):
    """What is in the bundle, by its path."""
    manifest = json.loads(zipped.read("manifest.json"))
    if manifest["format"] != 1 or manifest["name"] != "edge-runtime":
        wrong("it is no bundle of the runtime")
    also = {"armv7l": ("armv6l",)}.get(machine, ())
    if manifest["architecture"] not in (machine, *also):
        wrong("it is for %s, and this machine is %s" % (manifest["architecture"], machine))
    if sum(about["size"] for about in manifest["files"].values()) > MOST:
        wrong("it is larger than any runtime")
    for path in manifest["files"]:
        if not PATH.fullmatch(path):
            wrong("it has a file %r" % path)
    return manifest["files"]


def read(zipped, files, path):
    """One file of the bundle, held to the manifest."""
    with zipped.open(path) as source:
        data = source.read(files[path]["size"] + 1)
    if len(data) != files[path]["size"] or hashlib.sha256(data).hexdigest() != files[path]["sha256"]:
        wrong("the file %r in it is damaged" % path)
    return data


def opened(zipped, files, path):
    wheel = Wheel(read(zipped, files, path))
    wheel.name = path
    return zipfile.ZipFile(wheel)


def take_tools(zipped, files):
    """Make importable what installs. It is gone when the environment is whole."""
    os.mkdir(tools)
    for name in TOOLS:
        found = [path for path in files if path.startswith("wheels/%s-" % name)]
        if len(found) != 1:
            wrong("it has no wheel of %s, which installs the others" % name)
        with opened(zipped, files, found[0]) as wheel:
            wheel.extractall(tools, [one for one in wheel.namelist() if one.endswith(".py")])
    sys.path.insert(0, tools)
    sys.dont_write_bytecode = True


def chosen(lock, files):
    """The wheel for each line of the lock."""
    from packaging.tags import sys_tags
    from packaging.utils import canonicalize_name, parse_wheel_filename
    from packaging.version import Version

    rank = {tag: number for number, tag in enumerate(sys_tags())}
    wheels = {}
    for path in files:
        if path.endswith(".whl"):
            name, version, build, tags = parse_wheel_filename(path.partition("/")[2])
            wheels.setdefault((name, version), []).append((path, build, tags))
    for line in lock.splitlines():
        pin = PIN.fullmatch(line)
        if pin is None:
            wrong("its lock has a line that locks nothing: %r" % line[:80])
        hashes = set(re.findall("[0-9a-f]{64}", pin[3]))
        fitting = [
            (min(rank[tag] for tag in tags if tag in rank), build, path)
            for path, build, tags in wheels.get((canonicalize_name(pin[1]), Version(pin[2])), ())
            if not rank.keys().isdisjoint(tags)
        ]
        if not fitting:
            wrong("it has no wheel of %s %s for %s" % (pin[1], pin[2], here))
        best = min(rank for rank, *_ in fitting)
        path = max((build, path) for rank, build, path in fitting if rank == best)[1]
        if files[path]["sha256"] not in hashes:
            wrong("the file %r in it is not the one that its lock names" % path)
        yield path


def install(zipped, files, path, target):
    """Lay out one wheel, when it is whole."""
    import installer
    from installer.sources import WheelFile

    try:
        with opened(zipped, files, path) as wheel:
            source = WheelFile(wheel)
            source.validate_record()
            installer.install(source, target, {"INSTALLER": b"edge-install\n"})
    except FileExistsError as error:
        wrong("the file %r in it would replace files of another one: %s" % (path, error))
    except (*DAMAGED, installer.exceptions.InstallerError) as error:
        wrong("the file %r in it is no wheel that can be trusted: %s" % (path, error))


def compile_all(folder):
    """Write the bytecode, on all processors: whoever runs this later may not, and would compile at each start."""
    import py_compile

    files = [os.path.join(at, one) for at, _, ones in os.walk(folder) for one in ones if one.endswith(".py")]
    files.sort(key=os.path.getsize, reverse=True)
    jobs = len(os.sched_getaffinity(0))
    children = []
    for number in range(jobs):
        child = os.fork()
        if child:
            children.append(child)
            continue
        try:
            for path in files[number::jobs]:
                try:
                    py_compile.compile(path, doraise=True)
                except (py_compile.PyCompileError, ValueError):
                    pass  # a file for another Python, which nobody imports
            os._exit(0)
        except BaseException as error:
            print("edge-install: %s cannot be compiled: %s" % (path, error), file=sys.stderr)
        finally:
            os._exit(1)
    if any([os.waitpid(child, 0)[1] for child in children]):
        sys.exit(1)


try:
    import venv
except ImportError:
    sys.exit("edge-install: python3 cannot make an environment; on Debian: apt-get install python3-venv")
try:
    with zipfile.ZipFile(bundle) as zipped:
        files = listed(zipped)
        lock = read(zipped, files, "requirements.lock").decode()
        take_tools(zipped, files)
        paths = list(chosen(lock, files))
        # The system's packages stay importable: GPIO libraries come from there.
        venv.EnvBuilder(system_site_packages=True, symlinks=True).create(env)
        scheme = sysconfig.get_paths("venv", {"base": env, "platbase": env})
        scheme["headers"] = os.path.join(env, "include", "site")
        from installer.destinations import SchemeDictionaryDestination

        target = SchemeDictionaryDestination(scheme, os.path.join(env, "bin", "python"), "posix")
        for path in paths:
            install(zipped, files, path, target)
    compile_all(scheme["purelib"])
except DAMAGED as error:
    wrong("it is damaged: %s" % error)
except OSError as error:
    wrong("it cannot be installed: %s" % error)
PYTHON
}

settle() { sync -f "$dest" 2>/dev/null || sync; }

# Makes the environment whole. What fails leaves nothing behind but what the next call removes first.
build() {
    say "installing into $env"
    rm -rf "$env" "$dest/.tools"
    fill "$dest/.tools" "$env"
    rm -rf "$dest/.tools"
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
    exec 9>&-
fi

[ "$verb" = install ] || exec "$dest/venv/bin/edge" "$@"
