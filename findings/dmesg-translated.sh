#!/usr/bin/env bash
# dmesg of util-linux 2.41.5 (Debian 13) writes times in the language of its user: -T (--ctime) has the weekday and the
# month of the locale, although ctime(3) has English ones in any locale (C17, 7.27.3); so has -e. -d has a comma in the
# difference to the line before, beside a time with a point. A search for "Sun Nov 29", and a parser of ctime's format,
# find nothing in a log of a German machine. --time-format=iso is the same in any language.
# netconsd crashes and replay read the months of some twenty languages (netconsd/read/months.py,
# tests/read/test_console.py).
#
# Prints two lines with each option in three languages; fails if the behaviour changes.
set -euo pipefail
pool=http://deb.debian.org/debian/pool/main

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for package in u/util-linux/util-linux_2.41.5-0+deb13u1 u/util-linux/libsmartcols1_2.41.5-0+deb13u1 \
    g/glibc/libc6_2.41-12+deb13u5 g/glibc/locales-all_2.41-12+deb13u5 n/ncurses/libtinfo6_6.5+20250216-2 \
    libs/libselinux/libselinux1_3.8.1-1 p/pcre2/libpcre2-8-0_10.46-1~deb13u3; do
    curl --silent --show-error --fail --location --output "$work/package.deb" "$pool/${package}_amd64.deb"
    dpkg-deb --extract "$work/package.deb" "$work/root"
done

dmesg_of() { # LANGUAGE ARGUMENT...
    local language=$1
    shift
    LOCPATH=$work/root/usr/lib/locale LC_ALL=$language TZ=UTC "$work/root/usr/lib64/ld-linux-x86-64.so.2" \
        --library-path "$work/root/usr/lib/x86_64-linux-gnu" "$work/root/usr/bin/dmesg" "$@"
}

dmesg_of C --version
printf '<6>[    1.000000] first\n<4>[    2.500000] second\n' >"$work/log"
for language in C de_DE.utf8 fr_FR.utf8; do
    for option in --ctime --reltime --show-delta --time-format=iso; do
        dmesg_of "$language" --file "$work/log" "$option" | sed "s/^/$language $option: /"
    done
done | tee "$work/output"

grep -qE '^C --ctime: \[(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ' "$work/output" &&
    grep -qE '^de_DE.utf8 --ctime: \[(Mo|Di|Mi|Do|Fr|Sa|So) ' "$work/output" &&
    grep -qE '^fr_FR.utf8 --ctime: \[(lun|mar|mer|jeu|ven|sam|dim)\. ' "$work/output" &&
    grep -qF 'C --show-delta: [    2.500000 <    1.500000>] second' "$work/output" &&
    grep -qF 'de_DE.utf8 --show-delta: [    2.500000 <    1,500000>] second' "$work/output" ||
    { echo 'The behaviour has changed.' >&2; exit 1; }
