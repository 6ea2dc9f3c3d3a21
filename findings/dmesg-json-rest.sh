#!/usr/bin/env bash
# dmesg of util-linux 2.38.1 (Debian 12) reads a saved log (dmesg --file LOG --json) and prints as the text of each record
# the rest of the whole file: a log with one crash looks like one with as many crashes as it has lines before it. 2.41.5
# (Debian 13) ends the text at the line. Both copy bytes that are not UTF-8 into the output as they are, so that strict
# readers of JSON refuse all of it (RFC 8259, section 8.1).
#
# Prints what both versions say of three lines; fails if the behaviour changes.
set -euo pipefail
pool=http://deb.debian.org/debian/pool/main

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fetch() { # VERSION PACKAGE...: unpack packages of Debian
    local version=$1 package
    shift
    for package in "$@"; do
        curl --silent --show-error --fail --output "$work/package.deb" "$pool/${package}_amd64.deb"
        dpkg-deb --extract "$work/package.deb" "$work/$version"
    done
}

dmesg_of() { # VERSION ARGUMENT...: run it with the libraries of its own release
    local version=$1 libraries
    shift
    libraries=$work/$version/lib/x86_64-linux-gnu:$work/$version/usr/lib/x86_64-linux-gnu
    "$(find "$work/$version" -name 'ld-linux-x86-64.so.2' -type f | head -n 1)" \
        --library-path "$libraries" "$(find "$work/$version" -name dmesg -path '*bin/*' -type f)" "$@"
}

fetch 2.38.1 u/util-linux/util-linux_2.38.1-5+deb12u3 u/util-linux/libsmartcols1_2.38.1-5+deb12u3 \
    g/glibc/libc6_2.36-9+deb12u14 n/ncurses/libtinfo6_6.4-4 libs/libselinux/libselinux1_3.4-1+b6 \
    p/pcre2/libpcre2-8-0_10.42-1
fetch 2.41.5 u/util-linux/util-linux_2.41.5-0+deb13u1 u/util-linux/libsmartcols1_2.41.5-0+deb13u1 \
    g/glibc/libc6_2.41-12+deb13u5 n/ncurses/libtinfo6_6.5+20250216-2 libs/libselinux/libselinux1_3.8.1-1 \
    p/pcre2/libpcre2-8-0_10.46-1~deb13u3

printf '<6>[    1.000000] first\n<4>[    2.000000] second \xff\n<0>[    3.000000] Kernel panic - not syncing: x\n' \
    >"$work/log"
cat >"$work/texts.py" <<'PYTHON'
import json
import sys

data = sys.stdin.buffer.read()
try:
    data.decode()
    print("UTF-8:", end=" ")
except UnicodeDecodeError:
    print("not UTF-8:", end=" ")
records = json.loads(data.decode(errors="replace"))["dmesg"]
print(len(records), "records,", sum("Kernel panic" in record["msg"] for record in records), "with the panic")
PYTHON
for version in 2.38.1 2.41.5; do
    dmesg_of "$version" --version
    dmesg_of "$version" --file "$work/log" --json | python3 "$work/texts.py" | tee "$work/$version.txt"
done
[ "$(cat "$work/2.38.1.txt")" = 'not UTF-8: 3 records, 3 with the panic' ] &&
    [ "$(cat "$work/2.41.5.txt")" = 'not UTF-8: 3 records, 1 with the panic' ] ||
    { echo 'The behaviour has changed.' >&2; exit 1; }
