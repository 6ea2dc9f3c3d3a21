# Shared by the scripts of packaging/, which source it: the version, the date, and roots of Debian.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# The version of every package comes from netconsd/__init__.py, where setup.cfg and the documentation find it as well.
version() {
    sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$top/netconsd/__init__.py"
}

# The path of a Python by its name, such as python3.14t; fails if this machine has none. pyenv has a name for each Python
# that it has, which runs only if that Python is chosen.
python_path() { # NAME
    local chosen=
    if command -v pyenv >/dev/null; then chosen=$(pyenv whence "$1" 2>/dev/null | tail -n 1); fi
    env ${chosen:+PYENV_VERSION="$chosen"} "$1" -c 'import sys; print(sys.executable)' 2>/dev/null
}

# The date of everything in a package, in seconds since 1970: that of the last commit, so that two builds of a commit are
# equal. A tree without git has it in SOURCE_DATE_EPOCH, or gets the date of the changes.
source_date() {
    if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
        echo "$SOURCE_DATE_EPOCH"
    else
        git -C "$top" log -1 --format=%ct 2>/dev/null || stat -c %Y "$top/CHANGELOG.md"
    fi
}

# Make a root of a Debian suite with python3 and the further packages. debootstrap takes Debian's own mirror.
make_root() { # SUITE ROOT [PACKAGE...]
    local suite=$1 root=$2
    shift 2
    local packages
    packages=$(IFS=,; echo "python3,python3-venv,ca-certificates${*:+,$*}")
    debootstrap --variant=minbase --include="$packages" "$suite" "$root" >"$root.log" 2>&1 ||
        { tail -n 20 "$root.log"; fail "debootstrap $suite"; }
    # A root need not survive a power cut.
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
    rm -f "$root.log" "$root"/var/cache/apt/archives/*.deb
    let_out "$root"
}

# Give a root this machine's way to the network: resolver, hosts and certificates, which its network may need.
let_out() { # ROOT
    cp -L /etc/resolv.conf /etc/hosts "$1/etc/"
    cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"
}

# Run a command in a root, with nothing of this machine's environment but the bundle of certificates.
in_root() { # ROOT COMMAND...
    local root=$1
    shift
    env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_DISABLE_PIP_VERSION_CHECK=1 \
        SOURCE_DATE_EPOCH="$(source_date)" chroot "$root" "$@"
}

# Keep services from starting in a root, as in an image, and mount what programs expect.
enter_root() { # ROOT
    printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
    chmod 755 "$1/usr/sbin/policy-rc.d"
    mountpoint -q "$1/proc" || mount -t proc proc "$1/proc"
    mountpoint -q "$1/dev" || mount --rbind --make-rslave /dev "$1/dev"
}

leave_root() { # ROOT
    umount -l "$1/proc" "$1/dev" 2>/dev/null || true
}

# Repack the packages of Debian as those of a later version, whose configuration differs, because building takes minutes.
later_packages() { # DIRECTORY TARGET PACKAGE...
    local directory=$1 target=$2 package unpacked
    shift 2
    unpacked=$(mktemp -d)
    for package in "$@"; do
        rm -rf "$unpacked"
        dpkg-deb -R "$directory/$package"_*.deb "$unpacked"
        sed -i "s/$(version)+deb/$(version)+later+deb/" "$unpacked/DEBIAN/control"
        [ "$package" != netconsd ] || echo '# Of the later version.' >>"$unpacked/etc/netconsd/netconsd.toml"
        dpkg-deb -Znone -b "$unpacked" "$target/later-$package.deb" >/dev/null
    done
    rm -rf "$unpacked"
}
