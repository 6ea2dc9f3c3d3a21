#!/usr/bin/env bash
# Cython 3.3.1 compiles a .pxd whose decorators name `cython` without having imported it, without an error or a warning,
# and ignores the declared types: the locals stay Python objects. A comment sign before `cimport cython` made netconsd's
# most used function a fifth slower, with all tests green. tests/project/test_architecture.py checks each .pxd of netconsd.
#
# Prints the version and the type of a local with and without the import; fails if the behaviour changes.
set -euo pipefail
version=3.3.1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "Cython==$version"

type_of_local() { # DIRECTORY: the C type of the local `total`, and the number of lines that Cython printed
    "$work/venv/bin/cython" -3 --warning-errors -Wextra "$1/sums.py" -o "$1/sums.c" >"$1/log" 2>&1
    type=$(sed -n 's/^ *\(PyObject \*\|long \)__pyx_v_total.*/\1/p' "$1/sums.c" | head -n 1)
    printf '%s (%d lines of output)' "${type% }" "$(wc -l <"$1/log")"
}

for case in with without; do
    mkdir "$work/$case"
    cat >"$work/$case/sums.py" <<'PYTHON'
def add(count):
    total = 0
    for number in range(count):
        total += number
    return total
PYTHON
    if [ "$case" = with ]; then echo 'cimport cython' >"$work/$case/sums.pxd"; fi
    cat >>"$work/$case/sums.pxd" <<'PXD'
@cython.locals(total=long, number=long)
cpdef long add(long count)
PXD
done

with=$(type_of_local "$work/with")
without=$(type_of_local "$work/without")
echo "Cython $("$work/venv/bin/cython" --version 2>&1 | grep -o '[0-9][0-9.]*' | head -n 1)"
echo "with cimport cython: the local is $with"
echo "without: the local is $without"
[ "$with" = 'long (0 lines of output)' ] && [ "$without" = 'PyObject * (0 lines of output)' ] ||
    { echo 'The behaviour has changed.' >&2; exit 1; }
