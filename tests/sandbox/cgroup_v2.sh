#!/bin/bash
# The sandbox on pure control groups version 2, whatever this host has: in a User-Mode Linux (Debian package
# user-mode-linux), which needs neither rights nor virtualization. Takes some 15 seconds. `make check-cgroupv2`
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
if ! command -v linux.uml >/dev/null; then
	echo "skipped: linux.uml is missing (Debian package user-mode-linux)"
	exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "$root/tests/sandbox/cgroup_v2_guest.sh" "$scratch/guest" # the kernel's command line knows no spaces
mkfifo "$scratch/stdin"
exec 3<>"$scratch/stdin" # a pipe that stays open and empty
TMPDIR=$scratch timeout 300 linux.uml mem=768M root=/dev/root rootfstype=hostfs rootflags=/ ro \
	"init=$scratch/guest" "windlass_root=${root// /%20}" \
	cgroup_no_v1=all con=null con0=null,fd:1 con1=fd:0,fd:1 quiet <"$scratch/stdin" | tee "$scratch/log" || true
grep -q "^cgroup-v2: passed" "$scratch/log"
