#!/usr/bin/env bash
# Lints proto/ with buf, and compares it with the contract before its last change for what would break a client.
# Without buf it says so and is done; with ONEX_REQUIRE_ALL=1 that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! buf=$(command -v buf || scripts/tool.sh buf); then
  echo "lint-proto: SKIPPED, no buf: proto/ was neither linted nor compared" >&2
  [[ ${ONEX_REQUIRE_ALL:-} != 1 ]]
  exit
fi

"$buf" lint
"$buf" format --diff --exit-code
echo "lint-proto: proto/ is clean"

# What was not committed is compared with the last commit; what was, with the state before the last commit that changed it.
if ! git rev-parse --verify --quiet HEAD >/dev/null; then
  echo "lint-proto: no commit to compare with"
  exit
fi
if git diff --quiet HEAD -- proto; then
  changed=$(git log -1 --format=%H -- proto)
  base=$(git rev-parse --verify --quiet "$changed^" || true)
else
  base=$(git rev-parse HEAD)
fi
if [[ -z $base ]] || [[ -z $(git ls-tree "$base" proto) ]]; then
  echo "lint-proto: no earlier contract to compare with"
  exit
fi
# The common folder, because .git is a file in a linked work tree.
"$buf" breaking --against "$(git rev-parse --git-common-dir)#format=git,ref=$base"
echo "lint-proto: nothing breaks clients of $(git log -1 --format='%h (%s)' "$base")"
