#!/usr/bin/env bash
# libtinfo 6.5 (ncurses, Debian 13) calls setfsuid() and setfsgid() with the user's own ids when it reads a terminal's
# description, also for a user who is not root; 6.4 (Debian 12) does not. Python's readline and curses load it. systemd
# counts setfsuid() as @privileged, so that a service with SystemCallFilter=~@privileged, which ran on Debian 12, is killed
# on Debian 13 when a library of it imports readline. contrib/systemd/netconsd.service has such calls fail instead
# (SystemCallErrorNumber; .ci/boot-systemd starts it under both).
#
# Needs strace. Runs tput with both libraries, without privileges if it can, and prints these calls. Fails if 6.5 makes
# none, or 6.4 some.
set -euo pipefail
pool=http://deb.debian.org/debian/pool/main/n/ncurses

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
user=()
if [ "$(id -u)" = 0 ]; then user=(setpriv --reuid 65534 --regid 65534 --clear-groups); fi
calls() { # VERSION
    curl --silent --show-error --fail --location --output "$work/package.deb" "$pool/libtinfo6_$1_amd64.deb"
    dpkg-deb --extract "$work/package.deb" "$work/$1"
    local libraries=$work/$1/usr/lib/x86_64-linux-gnu:$work/$1/lib/x86_64-linux-gnu
    TERM=xterm "${user[@]}" strace -e trace=setfsuid,setfsgid -E LD_LIBRARY_PATH="$libraries" tput cols 2>&1 >/dev/null |
        sed -n 's/ *=.*//; /^setfs/p' | sort | uniq -c
}
before=$(calls 6.4-4)
after=$(calls 6.5+20250216-2)
printf 'libtinfo 6.4:\n%s\nlibtinfo 6.5:\n%s\n' "${before:-      no such call}" "${after:-      no such call}"
if [ -n "$before" ] || ! grep -q setfsuid <<<"$after"; then echo 'The behaviour has changed.' >&2; exit 1; fi
if command -v systemd-analyze >/dev/null; then
    systemd-analyze --version | head -n 1
    systemd-analyze syscall-filter @privileged | grep -E 'setfs[ug]id$'
fi
