#!/usr/bin/env bash
# Runs every fuzz target below a folder for a while, one after the other, so
# that each has the whole machine. Arguments: time for each [1m], folder [.].
# What a target finds stays in its testdata/fuzz, and is part of `make test`
# from then on.
set -euo pipefail
time=${1:-1m} folder=${2:-.}
status=0
while IFS=: read -r file target; do
    echo "== $(dirname "$file") $target"
    "${GO:-go}" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$(dirname "$file")" </dev/null || status=1
done < <(grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' "$folder" | sed 's/:func /:/' | sort)
exit $status
