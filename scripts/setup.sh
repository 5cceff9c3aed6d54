#!/bin/sh
# Sets the project up: .venv, the packages of requirements.lock (checked by hash), the project itself, and the system
# libraries that PDFs need. Does nothing when nothing has changed. With --for-tests, also what only the tests need.
#
#   PYTHON=python3.12 sh scripts/setup.sh [--for-tests]
#
# A system library that cannot be installed is no failure: one line says what to run, and HTML is written without it.
set -eu
cd "$(dirname "$0")/.."

for_tests=false
case "${1:-}" in
    "") ;;
    --for-tests) for_tests=true ;;
    *) echo "setup: unknown option '$1' (only --for-tests is known)" >&2; exit 2 ;;
esac

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- system packages -------------------------------------------------------------------------------------------------

if [ "$(id -u)" = 0 ]; then as_root=""; else as_root="sudo -n"; fi

# Those of the Debian packages $@ that are not installed.
missing_packages() {
    for package in "$@"; do
        case "$(dpkg -s "$package" 2>/dev/null)" in
            *"Status: install ok installed"*) ;;
            *) printf ' %s' "$package" ;;
        esac
    done
}

# install_packages WHY PACKAGE...: install what is missing; where that is impossible say so, and return 1.
install_packages() {
    why=$1; shift
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if [ -z "$as_root" ] || $as_root true 2>/dev/null; then
        say "installing$missing ($why)"
        log=$(mktemp)
        # A failed update is not the end: one dead source must not keep a package of another from being installed.
        $as_root apt-get update -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 >"$log" 2>&1 || true
        # shellcheck disable=SC2086  # $missing and $as_root are lists of words
        if $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            -o DPkg::Lock::Timeout=120 $missing >>"$log" 2>&1 </dev/null; then
            rm -f "$log"
            return 0
        fi
        tail -n 3 "$log"
        rm -f "$log"
    fi
    say "could not install what is needed for $why; please run:  sudo apt-get install$missing"
    return 1
}

# What WeasyPrint loads, asked of the loader itself: the answer holds on every system.
pdf_libraries_load() {
    .venv/bin/python - <<'PYTHON'
import ctypes, ctypes.util, sys
def loads(*names):
    for name in filter(None, (*names, *map(ctypes.util.find_library, names[:1]))):
        try:
            return ctypes.CDLL(name)
        except OSError:
            pass
wanted = {"pango-1.0": "libpango-1.0.so.0", "pangoft2-1.0": "libpangoft2-1.0.so.0",
          "harfbuzz-subset": "libharfbuzz-subset.so.0"}
sys.exit(not all(loads(short, soname) for short, soname in wanted.items()))
PYTHON
}

system_libraries() {
    if have apt-get && have dpkg; then
        # Without fontconfig and one good font, Pango draws boxes.
        install_packages "PDF reports" \
            libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fontconfig fonts-dejavu-core || true
    elif ! pdf_libraries_load; then
        if have dnf; then line="sudo dnf install pango harfbuzz fontconfig dejavu-sans-fonts"
        elif have pacman; then line="sudo pacman -S pango harfbuzz fontconfig ttf-dejavu"
        elif have zypper; then line="sudo zypper install libpango-1_0-0 libharfbuzz-subset0 fontconfig dejavu-fonts"
        elif have brew; then line="brew install pango harfbuzz fontconfig"
        else line="your package manager, for pango, harfbuzz (with harfbuzz-subset) and fontconfig"
        fi
        say "PDF reports need libraries that are not here; please run:  $line"
    fi
}

test_programs() {
    wanted=""
    { have chromium || have chromium-browser || have google-chrome; } || wanted="chromium"
    have pdftoppm || wanted="$wanted poppler-utils"
    [ -n "$wanted" ] || return 0
    # shellcheck disable=SC2086
    if have apt-get && have dpkg; then install_packages "the tests" $wanted || true
    else say "the tests look at the report through programs that are not here; please install: $wanted"
    fi
}

# --- the environment -------------------------------------------------------------------------------------------------

new_enough='import sys; sys.exit(sys.version_info < (3, 11))'

# The interpreter to build on: $PYTHON where it is new enough, else the newest that has a name of its own.
find_python() {
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c "$new_enough" 2>/dev/null; then echo "$candidate"; return; fi
    done
    fail "needs Python 3.11 or newer; '${PYTHON:-python3}' is $("${PYTHON:-python3}" --version 2>&1 || true)." \
        "Install one, or name it: make setup PYTHON=/path/to/python3"
}

make_venv() {
    python=$(find_python)
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        venv_package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        { have apt-get && have dpkg && install_packages "a virtual environment" "$venv_package"; } ||
            fail "'$python' cannot make virtual environments: it lacks ensurepip." \
                "On Debian and Ubuntu: sudo apt-get install $venv_package"
    fi
    say "creating .venv with $("$python" --version)"
    "$python" -m venv --clear .venv || fail "could not create .venv with '$python'; see the lines above"
}

# uv installs in a fraction of pip's time; its own version and hashes stand in the lock like everyone else's.
get_uv() {
    awk '/^[^ #]/ { mine = /^uv==/ } mine' requirements.lock >.venv/uv.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.txt
}

install_locked() {
    quiet=""
    if [ ! -t 1 ]; then quiet="--quiet"; fi   # progress bars are for people
    # shellcheck disable=SC2086
    if get_uv && .venv/bin/uv pip install $quiet --python .venv/bin/python --require-hashes -r requirements.lock
    then return 0; fi
    # pip knows proxies, mirrors and certificates that a machine may have set up for it alone; the hashes still decide.
    say "uv could not install the packages; trying with pip"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
}

environment() {
    # What is installed depends on these files, and on where it stands (scripts name their interpreter by its path).
    key="$(pwd) $(cat requirements.lock pyproject.toml scripts/setup.sh | cksum)"
    stamp=$(cat .venv/setup.stamp 2>/dev/null || true)
    if [ "$stamp" = "$key" ] && .venv/bin/python -c "$new_enough" 2>/dev/null; then return 0; fi

    # Keep what is there unless it is broken or has been moved here from elsewhere.
    if [ -n "$stamp" ] && [ "${stamp% * *}" != "$(pwd)" ]; then make_venv
    elif ! .venv/bin/python -c "import pip; $new_enough" 2>/dev/null; then make_venv
    fi
    rm -f .venv/setup.stamp
    say "installing the packages of requirements.lock (the first time some GB: torch brings its CUDA libraries)"
    install_locked ||
        fail "the packages could not be installed; see the lines above. Is an index in reach, and space on the disk?"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --no-deps --no-build-isolation --no-index --editable . ||
        fail "the project itself could not be installed into .venv; see the lines above"
    echo "$key" >.venv/setup.stamp
    say "done; the environment is .venv"
}

environment
system_libraries
if $for_tests; then test_programs; fi
