#!/usr/bin/env bash
# rsyslog 8.2302.0 (its module mmpstrucdata) and syslog-ng 3.38.1 (Debian 12) keep the last value only of a parameter that
# comes several times in an element of structured data, although RFC 5424 (section 6.3.3) allows it; rsyslog also makes
# small letters of the names, so that rack replaces Rack. syslog-ng sends its one value on. Neither says so.
# netconsd.modules.syslog sends no name twice (tests/streams/test_syslog.py, tests/servers/test_syslog.py).
#
# Sends a message with three values of one name, and two of names that differ by a capital; prints what each daemon has of
# it. Fails if one has all values.
set -euo pipefail
pool=http://deb.debian.org/debian/pool/main
port=27514

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
module(load="mmpstrucdata")
template(name="parsed" type="string" string="%\$!rfc5424-sd%\\n")
input(type="imudp" address="127.0.0.1" port="$port" ruleset="received")
ruleset(name="received") {
  action(type="mmpstrucdata")
  action(type="omfile" file="$work/rsyslog" template="parsed")
}
CONF
"$work/root/usr/sbin/rsyslogd" -v | head -n 1
"$work/root/usr/sbin/rsyslogd" -n -f "$work/rsyslog.conf" -i "$work/rsyslog.pid" -M "$libraries/rsyslog" 2>"$work/log" &
servers+=($!)
cat >"$work/syslog-ng.conf" <<CONF
@version: 3.38
options { use-dns(no); };
source datagrams { syslog(ip("127.0.0.1") port($((port + 1))) transport("udp")); };
destination lines { file("$work/syslog-ng" template("\$SDATA\\n")); };
log { source(datagrams); destination(lines); };
CONF
"$work/root/usr/sbin/syslog-ng" --version --module-path "$modules" 2>>"$work/log" | head -n 1
"$work/root/usr/sbin/syslog-ng" --foreground --no-caps --cfgfile "$work/syslog-ng.conf" --module-path "$modules" \
    --persist-file "$work/persist" --pidfile "$work/syslog-ng.pid" --control "$work/control" 2>>"$work/log" &
servers+=($!)
unset LD_LIBRARY_PATH

sent='[data@32473 disk="sda" disk="sdb" disk="sdc" Rack="r1" rack="r2"]'
echo "sent: $sent"
for _ in $(seq 60); do # Until they listen.
    for name in rsyslog syslog-ng; do
        [ -s "$work/$name" ] || printf '<13>1 2026-11-29T08:00:00Z host kernel - - %s text' "$sent" \
            >"/dev/udp/127.0.0.1/$((port + (${#name} > 7)))"
    done 2>/dev/null
    sleep 1
    if [ -s "$work/rsyslog" ] && [ -s "$work/syslog-ng" ]; then break; fi
done
for name in rsyslog syslog-ng; do
    echo "$name: $(grep -m 1 data@32473 "$work/$name")"
done | tee "$work/output"
if ! grep -q '^rsyslog: { "data@32473": { "disk": "sdc", "rack": "r2" } }$' "$work/output" ||
    ! grep -q '^syslog-ng: \[data@32473 ' "$work/output" || grep -q 'sda\|sdb' "$work/output"; then
    echo 'The behaviour has changed.' >&2
    cat "$work/log" >&2
    exit 1
fi
