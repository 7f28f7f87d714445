#!/usr/bin/env bash
# Writes constraints.txt: the newest versions that fit pyproject.toml, as a fresh environment gets them today.
# PYTHON names the interpreter; use the oldest one that is supported, so that the versions fit it too.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip --disable-pip-version-check)
"${pip[@]}" install --quiet --upgrade pip
"${pip[@]}" install --quiet --editable '.[all]' --group dev
# What builds the wheel runs in an environment of its own; it is locked here too.
"${pip[@]}" install --quiet hatchling editables

{
  echo "# The versions that this project is tested with. Written by \`make lock\`; not edited by hand."
  "${pip[@]}" freeze --all --exclude-editable | grep -E '^[A-Za-z0-9._-]+==' | LC_ALL=C sort --ignore-case
} >"$folder/constraints.txt"
mv "$folder/constraints.txt" constraints.txt
echo "lock: $(grep -c == constraints.txt) versions in constraints.txt"
