#!/bin/bash
# Runs as process 1 of a User-Mode Linux whose only control groups are version 2; prints one line a check.
# The host's files are the root, read-only, through hostfs. Arguments come from the kernel command line.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ROOT=$(sed -n 's/.*windlass_root=\([^ ]*\).*/\1/p' /proc/cmdline | sed 's/%20/ /g')
BIN=$ROOT/build/bin
SOCKET=/run/warden.sock
exec 2>&1

finish() {
	echo "cgroup-v2: $1"
	echo o >/proc/sysrq-trigger
	sleep 60
}

run() { # options... -- program...
	timeout 120 "$BIN/sandbox-run" "$SOCKET" "$@"
}

expect() { # name, pattern, answer
	if grep -q -- "$2" <<<"$3"; then
		echo "ok: $1"
	else
		echo "wrong: $1: $3"
		finish failed
	fi
}

"$BIN/windlass-warden" --check "--policies-dir=$ROOT/policies" || finish failed
"$BIN/windlass-warden" "--warden-socket=$SOCKET" "--policies-dir=$ROOT/policies" --sandbox-parked=1 &
WARDEN=$!
for _ in $(seq 200); do
	[ -S $SOCKET ] && break
	read -rt 0.05 <> <(:)
done
expect "a program runs" '"reason":"exited","exit_code":0' "$(run -- /bin/true)"
expect "memory limit" '"reason":"oom","exit_code":137' \
	"$(run --memory-mb=64 -- /usr/bin/python3 -c 'x = []
while True: x.append(bytearray(b"x" * (1 << 20)))')"
expect "peak of memory" '"memory_peak":6[0-9]\{7\}' \
	"$(run --memory-mb=64 -- /usr/bin/python3 -c 'x = []
while True: x.append(bytearray(b"x" * (1 << 20)))')"
expect "process limit" '"output":"11' \
	"$(run --pids=20 -- /usr/bin/python3 -c 'import os, time
try:
    while True:
        if os.fork() == 0: time.sleep(600)
except OSError as error: print(error.errno)')"
expect "cpu limit" '"reason":"timeout"' "$(run --cpu-milli=100 --wall-ms=2000 -- /bin/bash -c 'while :; do :; done')"
expect "cpu use is counted and held" '"cpu_us":[1-4][0-9]\{5\},' \
	"$(run --cpu-milli=100 --wall-ms=2000 -- /bin/bash -c 'while :; do :; done')"
expect "rights" 'Seccomp:.t2' "$(run -- /bin/grep Seccomp: /proc/self/status)"
kill $WARDEN
wait $WARDEN
[ -e /sys/fs/cgroup/windlass ] && { echo "wrong: /sys/fs/cgroup/windlass is left"; finish failed; }
echo "ok: nothing is left"
finish passed
