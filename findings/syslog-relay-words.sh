#!/usr/bin/env bash
# rsyslog 8.2302.0 and syslog-ng 3.38.1 (Debian 12) change the lines of a kernel that netconsole sends them. Such a
# datagram has no PRI, and RFC 3164 (section 4.3.3) has a relay take all of it as CONTENT. They look for a host and a
# program in it: for rsyslog, "Kernel panic" comes from a host called Kernel, and the machine's address is lost; in RFC
# 5424, both leave out the colon behind a first word, and syslog-ng the bracket before a time stamp.
# netconsd crashes and replay put back what can be put back (tests/read/test_console.py, tests/cli/test_crashes.py);
# docs/tools has a template by which rsyslog keeps all.
#
# Sends both three lines from 127.0.0.7, and prints what they write as RFC 5424; fails if the behaviour changes.
set -euo pipefail
pool=http://deb.debian.org/debian/pool/main
port=26514

work=$(mktemp -d)
servers=()
trap '[ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
for package in r/rsyslog/rsyslog_8.2302.0-1+deb12u1 libe/libestr/libestr0_0.1.11-1 \
    libf/libfastjson/libfastjson4_1.2304.0-1 s/syslog-ng/syslog-ng-core_3.38.1-5+deb12u1 i/ivykis/libivykis0_0.42.4-1 \
    libn/libnet/libnet1_1.1.6+dfsg-3.2 t/tcp-wrappers/libwrap0_7.6.q-32 p/pcre3/libpcre3_8.39-15 \
    g/glib2.0/libglib2.0-0_2.74.6-2+deb12u9; do
    curl --silent --show-error --fail --location --output "$work/package.deb" "$pool/${package}_amd64.deb"
    dpkg-deb --extract "$work/package.deb" "$work/root"
done
libraries=$work/root/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH=$libraries:$work/root/lib/x86_64-linux-gnu:$work/root/usr/lib/syslog-ng
modules=$work/root/usr/lib/syslog-ng/3.38

cat >"$work/rsyslog.conf" <<CONF
global(workDirectory="$work" net.enableDNS="off")
module(load="imudp")
input(type="imudp" address="127.0.0.1" port="$port")
action(type="omfile" file="$work/rsyslog" template="RSYSLOG_SyslogProtocol23Format")
CONF
"$work/root/usr/sbin/rsyslogd" -v | head -n 1
"$work/root/usr/sbin/rsyslogd" -n -f "$work/rsyslog.conf" -i "$work/rsyslog.pid" -M "$libraries/rsyslog" 2>"$work/log" &
servers+=($!)
cat >"$work/syslog-ng.conf" <<CONF
@version: 3.38
options { use-dns(no); };
source datagrams { network(ip("127.0.0.1") port($((port + 1))) transport("udp")); };
destination lines { file("$work/syslog-ng" flags(syslog-protocol)); };
log { source(datagrams); destination(lines); };
CONF
"$work/root/usr/sbin/syslog-ng" --version --module-path "$modules" 2>>"$work/log" | head -n 1
"$work/root/usr/sbin/syslog-ng" --foreground --no-caps --cfgfile "$work/syslog-ng.conf" --module-path "$modules" \
    --persist-file "$work/persist" --pidfile "$work/syslog-ng.pid" --control "$work/control" 2>>"$work/log" &
servers+=($!)
unset LD_LIBRARY_PATH

cat >"$work/send.py" <<'PYTHON'
import socket
import sys

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.bind(("127.0.0.7", 0))
    for line in (
        b"[    5.178098] BUG: kernel NULL pointer dereference\n",
        b"BUG: kernel NULL pointer dereference\n",
        b"Kernel panic - not syncing: Fatal exception\n",
    ):
        sender.sendto(line, ("127.0.0.1", int(sys.argv[1])))
PYTHON
for _ in $(seq 60); do # Until they listen.
    for name in rsyslog syslog-ng; do
        if ! grep -q 'Fatal exception' "$work/$name" 2>/dev/null; then
            python3 "$work/send.py" "$((port + (${#name} > 7)))"
        fi
    done
    sleep 1
    if grep -q 'Fatal exception' "$work/rsyslog" && grep -q 'Fatal exception' "$work/syslog-ng"; then break; fi
done 2>/dev/null

for name in rsyslog syslog-ng; do
    # Without the time, which differs; whatever else a daemon says of itself is not of these lines.
    sed -n 's/^\(<[0-9]*>1\) [^ ]* /\1 TIME /p' "$work/$name" | grep -E 'NULL pointer|not syncing' |
        head -n 3 >"$work/$name.lines"
    echo "$name:"
    cat "$work/$name.lines"
done
cat >"$work/expected" <<'LINES'
<13>1 TIME 127.0.0.7 - - - - [    5.178098] BUG: kernel NULL pointer dereference
<13>1 TIME 127.0.0.7 BUG - - -  kernel NULL pointer dereference
<13>1 TIME Kernel panic - - -  - not syncing: Fatal exception
<13>1 TIME 127.0.0.7 - - - -    5.178098] BUG: kernel NULL pointer dereference
<13>1 TIME 127.0.0.7 BUG - - - kernel NULL pointer dereference
<13>1 TIME 127.0.0.7 Kernel - - - panic - not syncing: Fatal exception
LINES
cat "$work/rsyslog.lines" "$work/syslog-ng.lines" | cmp - "$work/expected" || {
    echo 'The behaviour has changed.' >&2
    cat "$work/log" >&2
    exit 1
}
