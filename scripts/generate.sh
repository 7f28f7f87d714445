#!/usr/bin/env bash
# Generates the stubs in generated/ from proto/, with the grpcio-tools of the environment whose python is $1.
set -euo pipefail
python=${1:-python3}
cd "$(dirname "$0")/.."
bin=$(dirname "$("$python" -c 'import sys; print(sys.executable)')")
find generated -name '*_pb2*.py*' -delete
PATH="$bin:$PATH" "$python" -m grpc_tools.protoc -Iproto \
  --python_out=generated --pyi_out=generated --grpc_python_out=generated \
  --mypy_grpc_out=generated proto/onex/v1/*.proto
