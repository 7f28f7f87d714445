#!/usr/bin/env bash
# Prints the path of a tool that is no Python package, and installs it first where it is missing.
#   scripts/tool.sh etcd | grpcurl | buf
# Each lies under ${ONEX_TOOLS:-~/.cache/onex-mesh/tools}, by name and version, so that it is built once per version.
# etcd and grpcurl are built with Go, buf comes from npm. Where these are missing the script says so and fails.
set -euo pipefail

etcd_version=3.6.14
grpcurl_version=1.9.4
buf_version=1.75.0

tools=${ONEX_TOOLS:-$HOME/.cache/onex-mesh/tools}

needs() {
  command -v "$1" >/dev/null || { echo "tool: $tool needs $2, which is not installed" >&2; exit 1; }
}

say() {
  echo "tool: $*" >&2
}

build_etcd() {
  needs go "Go"
  say "building etcd $etcd_version with $(go version)"
  # etcd's module has replace directives, which \`go install\` refuses: it is built as a dependency of an empty module.
  (
    cd "$work"
    go mod init onex-mesh-tools >&2
    go get "go.etcd.io/etcd/server/v3@v$etcd_version" >&2
    go build -mod=mod -o "$work/out/etcd" go.etcd.io/etcd/server/v3 >&2
  )
}

build_grpcurl() {
  needs go "Go"
  say "building grpcurl $grpcurl_version with $(go version)"
  GOBIN="$work/out" go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@v$grpcurl_version" >&2
}

build_buf() {
  needs npm "npm"
  say "installing buf $buf_version with npm $(npm --version 2>/dev/null)"
  npm install --prefix "$work/out" --no-audit --no-fund --loglevel=error "@bufbuild/buf@$buf_version" >&2
}

tool=${1:?name a tool: etcd, grpcurl or buf}
case $tool in
  etcd) version=$etcd_version binary=etcd ;;
  grpcurl) version=$grpcurl_version binary=grpcurl ;;
  buf) version=$buf_version binary=node_modules/.bin/buf ;;
  *) echo "tool: no tool named $tool; there are etcd, grpcurl and buf" >&2; exit 2 ;;
esac

folder=$tools/$tool-$version
if ! [[ -x $folder/$binary ]]; then
  mkdir -p "$tools"
  # Built beside its place and moved there when done: a build that was cut short is never taken for a finished one.
  work=$(mktemp -d "$tools/.build-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/out"
  "build_$tool"
  [[ -x $work/out/$binary ]] || { echo "tool: building $tool left no $binary" >&2; exit 1; }
  rm -rf "$folder"
  mv "$work/out" "$folder"
fi
mkdir -p "$tools/bin"
ln -sfn "$folder/$binary" "$tools/bin/$tool"
echo "$folder/$binary"
