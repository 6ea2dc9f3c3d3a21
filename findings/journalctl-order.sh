#!/usr/bin/env bash
# journalctl 252.39 (Debian 12; 257.13 of Debian 13 does the same) does not find entries by time in a file whose entries
# are not in the order of time. It ends at the first one after --until, although earlier ones follow; and it looks for
# --since by halves, so that it passes over entries of the time that was asked for. It says nothing, and its manual does
# not name this (journalctl(1), --since, --until). systemd-journal-remote answers 202 to such entries and writes them as
# they arrive: those of a relay, or of a machine whose upload came later than that of another one.
# netconsd.modules.journal sends records in the order of their receipt, also after an outage
# (tests/servers/test_journal.py).
#
# Uploads an entry for each of ten minutes of one machine, then those of another machine, then all in the order of time to
# another journal; prints the answers, and how many entries journalctl finds by time. Fails if it finds all entries of the
# first journal, or not all of the second.
set -euo pipefail
pool=http://deb.debian.org/debian/pool/main
port=29532

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
for package in s/systemd/{systemd,libsystemd-shared,systemd-journal-remote}_252.39-1~deb12u2 \
    libm/libmicrohttpd/libmicrohttpd12_0.9.75-6; do
    curl --silent --show-error --fail --location --output "$work/package.deb" "$pool/${package}_amd64.deb"
    dpkg-deb --extract "$work/package.deb" "$work/root"
done
libraries=$work/root/usr/lib/x86_64-linux-gnu
with_libraries=(env "LD_LIBRARY_PATH=$libraries:$libraries/systemd:$work/root/lib/systemd")
"${with_libraries[@]}" "$work/root/bin/journalctl" --version | head -n 1

entry() { # MACHINE MINUTE: an entry in the journal export format
    printf '__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%032d\n_HOSTNAME=host%d\nMESSAGE=minute %d\n\n' \
        $(((1795000000 + 60 * $2) * 1000000)) $((60000000 * $2 + 1)) "$1" "$1" "$2"
}

upload() { # FILE
    curl --silent --show-error --output /dev/null --write-out 'upload: %{http_code}\n' --data-binary "@$1" \
        --header 'Content-Type: application/vnd.fdo.journal' "http://127.0.0.1:$port/upload"
}

found() { # OPTION...: the entries that journalctl finds
    "${with_libraries[@]}" "$work/root/bin/journalctl" --quiet --directory "$work/journal" --output cat "$@" | wc -l
}

try() { # FILE...: upload the files, and search
    mkdir "$work/journal"
    "${with_libraries[@]}" "$work/root/lib/systemd/systemd-journal-remote" --listen-http="127.0.0.1:$port" \
        --split-mode=none --output="$work/journal/all.journal" 2>>"$work/log" &
    server=$!
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
        sleep 0.2
    done
    for file; do upload "$file"; done
    kill "$server"
    wait "$server" || true
    server=
    echo "entries: $(found), until minute 4: $(found --until @1795000270), since minute 5: $(found --since @1795000270)"
    rm -r "$work/journal"
}

for machine in 1 2; do
    for minute in {0..9}; do
        entry "$machine" "$minute" >>"$work/machine$machine"
    done
done
for minute in {0..9}; do
    entry 1 "$minute"
    entry 2 "$minute"
done >"$work/by-time"
echo 'One machine after the other:'
try "$work/machine1" "$work/machine2" >"$work/first"
cat "$work/first"
echo 'By time:'
try "$work/by-time" >"$work/second"
cat "$work/second"
all='entries: 20, until minute 4: 10, since minute 5: 10'
grep -q "$all" "$work/second" || { echo 'Not all of the second journal was found.' >&2; exit 1; }
if ! grep -q 'entries: 20' "$work/first" || grep -q "$all" "$work/first"; then
    echo 'The behaviour has changed.' >&2
    exit 1
fi
