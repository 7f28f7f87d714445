#!/usr/bin/env bash
# Makes the stubs in generated/ from proto/ with the grpcio-tools of the given Python.
#   scripts/generate.sh [PYTHON]           writes generated/
#   scripts/generate.sh --check [PYTHON]   writes nothing; fails if generated/ is not what proto/ makes
set -euo pipefail
check=false
if [[ ${1:-} == --check ]]; then
  check=true
  shift
fi
# Resolved before the cd below: the caller may have named it relative to where they stand.
bin=$("${1:-python3}" -c 'import os, sys; print(os.path.dirname(sys.executable))')
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The plugins (protoc-gen-mypy_grpc) lie beside the Python.
PATH="$bin:$PATH" "$bin/python" -m grpc_tools.protoc -Iproto \
  --python_out="$folder" --pyi_out="$folder" --grpc_python_out="$folder" \
  --mypy_grpc_out="$folder" proto/onex/v1/*.proto

if $check; then
  if ! diff --recursive --brief --exclude=__pycache__ --exclude=py.typed "$folder" generated; then
    echo "generate: generated/ is not what proto/ makes; run \`make generate\`" >&2
    exit 1
  fi
  echo "generate: generated/ is up to date"
else
  find generated -name '*_pb2*.py*' -not -path '*/__pycache__/*' -delete
  cp -R "$folder/." generated/
  echo "generate: wrote $(find "$folder" -type f | wc -l) files"
fi
