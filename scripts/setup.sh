#!/bin/sh
# setup.sh VENV EXTRA... - make or update the virtual environment VENV with this project and some of its extras.
# Versions are those of uv.lock; without that file, the newest that pyproject.toml allows. No root is needed.
set -eu
cd "$(dirname "$0")/.."
venv=$1
shift

# step NAME COMMAND...: says what is being done, every ten seconds that it still is, and at the end how long it took
ticker=
# Always by KILL: a shell that has just been forked may still catch TERM for the traps of its parent, and forget it.
trap '[ -z "$ticker" ] || kill -KILL "$ticker" 2>/dev/null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
step() {
    name=$1
    shift
    began=$(date +%s)
    echo "setup: $name ..."
    while sleep 10 >/dev/null 2>&1; do echo "setup: $name ... $(($(date +%s) - began)) s"; done &
    ticker=$!
    code=0
    "$@" || code=$?
    kill -KILL "$ticker" 2>/dev/null
    wait "$ticker" 2>/dev/null || :
    ticker=
    [ "$code" = 0 ] || return "$code"
    echo "setup: $name: done after $(($(date +%s) - began)) s"
}

suits() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

choose() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        if suits "$python"; then
            command -v "$python"
            return
        fi
    done
    echo "setup: no Python 3.10 to 3.13 found (tried: ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10})." >&2
    echo "       Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2
    return 1
}

usable() { [ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip --version >/dev/null 2>&1; }

remove() { # only what is a virtual environment, or empty: VENV may name anything
    rmdir -- "$venv" 2>/dev/null || [ ! -e "$venv" ] && [ ! -h "$venv" ] && return
    if [ -h "$venv" ] || [ ! -f "$venv/pyvenv.cfg" ]; then
        echo "setup: $venv is there and is no virtual environment: move it away, or name another." >&2
        exit 1
    fi
    rm -rf -- "$venv"
}

if ! usable; then # none, or one that was interrupted half-way
    python=$(choose)
    remove
    echo "setup: step 1 of 4: the virtual environment $venv with $("$python" --version)"
    if ! error=$("$python" -m venv "$venv" 2>&1) && ! uv venv --quiet --seed --python "$python" "$venv" 2>/dev/null; then
        remove
        echo "$error" >&2
        echo "setup: $python cannot make a virtual environment (Debian and Ubuntu: apt-get install python3-venv)." >&2
        exit 1
    fi
fi
[ -x "$venv/bin/uv" ] || step "step 2 of 4: the installer uv" \
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv

options=
list=
for extra; do
    options="$options --extra $extra"
    list="${list:+$list,}$extra"
done

install() { # [--compile-bytecode]
    if [ -f uv.lock ]; then
        # --inexact: uv itself, and what somebody added by hand, stays
        # shellcheck disable=SC2086
        UV_PROJECT_ENVIRONMENT=$venv "$venv/bin/uv" sync --quiet --frozen --inexact "$@" --python "$venv/bin/python" $options
    else
        "$venv/bin/uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" --editable ".[$list]"
    fi
}

step "step 3 of 4: Airflow and other packages (the first time, this takes minutes)" install
# every process of Airflow starts faster
step "step 4 of 4: compiling the packages" install --compile-bytecode
