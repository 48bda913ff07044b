#!/bin/sh
# table.sh BIN: judge the reference plugins and this project's, and write the table of docs/conformance.md.
# BIN has cni-conformance and cni/, as `make build` leaves them. The records stay in BIN/conformance.
set -eu
bin=$(realpath "$1")
cd "$(dirname "$0")"
release=v1.9.1
out=$bin/conformance
mkdir -p "$out"

# judge LABEL DIR RECORD CONF...: exit status 1 means that rows failed, which is what the table is for.
judge() {
	label=$1 dir=$2 record=$out/$3
	shift 3
	for name; do
		set -- "$@" --conf "examples/$name"
		shift
	done
	echo "$label"
	"$bin/cni-conformance" run --label "$label" --plugin-dir "$dir" --profile netctl --json "$record" "$@" > "${record%.json}.txt" || [ $? -eq 1 ]
	tail -n 1 "${record%.json}.txt"
}

judge "reference $release" "$bin/reference" reference.json bridge.conflist macvlan.conflist ptp.conflist static.conf loopback.conf
judge "netctl" "$bin/cni" netctl.json bridge.conflist macvlan.conflist static.conf loopback.conf
judge "netctl, bridge alone" "$bin/cni" alone.json alone.conflist
"$bin/cni-conformance" compare "$out/reference.json" "$out/netctl.json" "$out/alone.json" --into ../docs/conformance.md
