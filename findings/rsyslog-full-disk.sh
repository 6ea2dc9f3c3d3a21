#!/usr/bin/env bash
# rsyslog 8.2302.0 (Debian 12) drops messages that it cannot write because the disk is full (ENOSPC), although the action
# says action.resumeRetryCount="-1", which is to try for ever, and has a queue. The sender got no error: with syslog over
# TCP nothing is answered. docs/streams says so; the proof of a full disk leaves rsyslog out (tests/servers/test_proofs.py).
#
# Sends 5 messages while the file is /dev/full, makes it a file with room, sends 5 more, and waits for those; prints what
# is in the file. Fails if the first messages are there.
set -euo pipefail
pool=http://deb.debian.org/debian/pool/main
port=24514

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
for package in "$pool/r/rsyslog/rsyslog_8.2302.0-1+deb12u1" "$pool/libe/libestr/libestr0_0.1.11-1" \
    "$pool/libf/libfastjson/libfastjson4_1.2304.0-1" "$pool/libl/liblognorm/liblognorm5_2.0.6-4"; do
    curl --silent --show-error --fail --location --output "$work/package.deb" "${package}_amd64.deb"
    dpkg-deb --extract "$work/package.deb" "$work/root"
done
libraries=$work/root/usr/lib/x86_64-linux-gnu
cat >"$work/conf" <<CONF
global(workDirectory="$work")
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="$port")
template(name="line" type="string" string="%msg%\n")
action(type="omfile" file="$work/out" template="line" action.resumeRetryCount="-1" action.resumeInterval="1"
       queue.type="LinkedList" queue.size="1000" flushInterval="1")
CONF
ln -s /dev/full "$work/out"
export LD_LIBRARY_PATH=$libraries
"$work/root/usr/sbin/rsyslogd" -v | head -n 1
"$work/root/usr/sbin/rsyslogd" -n -f "$work/conf" -i "$work/pid" -M "$libraries/rsyslog" 2>"$work/log" &
server=$!
unset LD_LIBRARY_PATH

send() { # FIRST LAST
    local number
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    for number in $(seq "$1" "$2"); do
        printf '<14>1 2026-11-28T12:00:0%dZ host app - - - message %d\n' "$((number % 10))" "$number" >&3
    done
    exec 3>&-
}

until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.2; done
send 1 5
sleep 5
ln -sfn "$work/room" "$work/out"
kill -HUP "$server" # rsyslog opens its files again
sleep 2
send 6 10
for _ in $(seq 60); do
    if grep -q 'message 10' "$work/room" 2>/dev/null; then break; fi
    sleep 0.5
done
echo "in the file, after 10 messages:"
cat "$work/room"
grep -q 'message 10' "$work/room" || { echo 'The later messages did not arrive.' >&2; exit 1; }
if grep -q 'message 1$' "$work/room"; then echo 'The behaviour has changed.' >&2; exit 1; fi
cat "$work/log"
