#!/usr/bin/env bash
# Makes .venv with the locked versions of everything. Does nothing if it is there and still right.
# PYTHON names the interpreter to use; by default the first of python3, python3.14 … python3.11 that is new enough.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/.setup-done
wanted=$(printf '%s\n' "$PWD" | cat - pyproject.toml constraints.txt | sha256sum)
if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
  exit 0
fi

new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

python=""
if [[ -n ${PYTHON:-} ]]; then
  new_enough "$PYTHON" || { echo "setup: PYTHON=$PYTHON is not a Python 3.11 or newer" >&2; exit 1; }
  python=$PYTHON
else
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if new_enough "$candidate"; then python=$candidate; break; fi
  done
  if [[ -z $python ]]; then
    echo "setup: needs Python 3.11 or newer; python3 is: $(python3 --version 2>&1 || true)" >&2
    exit 1
  fi
fi

echo "setup: installing into .venv with $("$python" --version), once"
if ! [[ -x .venv/bin/python ]] || ! new_enough .venv/bin/python; then
  "$python" -m venv --clear .venv || { echo "setup: this Python lacks the venv module (Debian: python3-venv)" >&2; exit 1; }
fi
# pip first: --group and --build-constraint need a recent one.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --constraint constraints.txt pip
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
  --constraint constraints.txt --build-constraint constraints.txt --editable '.[all]' --group dev
printf '%s\n' "$wanted" >"$stamp"
