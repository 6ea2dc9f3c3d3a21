# Setting up netconsole: through configfs where the kernel supports it, otherwise through the module parameter.

load_module() {
    [ ! -d "$module" ] || return 0
    reason=$(modprobe netconsole 2>&1) ||
        die "cannot load netconsole (CONFIG_NETCONSOLE) into kernel $(uname -r): ${reason:-modprobe failed}"
    loaded_now=yes
}

# Succeeds if the kernel has configfs for netconsole: CONFIG_NETCONSOLE_DYNAMIC.
find_configfs() {
    [ ! -d "$configfs/netconsole" ] || return 0
    modprobe configfs 2>/dev/null
    mount -t configfs configfs "$configfs" 2>/dev/null
    [ -d "$configfs/netconsole" ]
}

set_parameter() {
    if [ -n "$USERDATA$SYSDATA" ]; then
        say 'userdata and sysdata are not sent: this kernel lacks CONFIG_NETCONSOLE_DYNAMIC'
    fi
    if [ -z "$loaded_now" ] && [ ! -e "$state/parameter" ]; then
        die "netconsole is already in use, and this kernel cannot change it at run time:" \
            "unload it (modprobe -r netconsole) and run this again"
    fi
    modprobe -r netconsole 2>/dev/null ||
        die "netconsole is built into this kernel, or in use: add this to the kernel's command line: $parameter"
    remember parameter yes
    if ! modprobe netconsole "$parameter"; then
        kernel_says
        die "the kernel refuses $parameter"
    fi
}

set_target() {
    if [ -d "$target" ]; then
        clear_target
    elif ! mkdir "$target"; then
        die "cannot create $target"
    fi
    attribute extended "${EXTENDED:-0}"
    if [ -e "$target/release" ]; then attribute release "${EXTENDED:-0}"; fi
    attribute dev_name "$interface"
    attribute local_port "$SOURCE_PORT"
    attribute remote_port "$PORT"
    # Without it, the kernel uses the interface's address.
    if [ -n "$source" ]; then attribute local_ip "$source"; fi
    attribute remote_ip "$SERVER"
    attribute remote_mac "$mac"
    set_userdata
    set_sysdata
    attribute enabled 1
}

attribute() { # NAME VALUE
    printf '%s\n' "$2" 2>/dev/null > "$target/$1" && return
    kernel_says
    die "the kernel refuses $2 for $1 of the target $NAME"
}

# Disables the target, because an enabled one cannot be changed, and removes its userdata.
clear_target() {
    if [ "$(cat "$target/enabled" 2>/dev/null)" = 1 ]; then attribute enabled 0; fi
    for item in "$target"/userdata/*/; do
        [ ! -d "$item" ] || rmdir "$item" || die "cannot remove $item"
    done
}

set_userdata() {
    [ -n "$USERDATA" ] || return 0
    if [ ! -d "$target/userdata" ]; then
        say "userdata is not sent: kernel $(uname -r) lacks it (6.9 and later have it)"
        return
    fi
    while IFS= read -r item; do
        mkdir "$target/userdata/${item%%=*}" ||
            die "the kernel refuses the userdata ${item%%=*} (kernels before 6.18 accept 16 items)"
        attribute "userdata/${item%%=*}/value" "${item#*=}"
    done <<END
$USERDATA
END
}

set_sysdata() {
    unknown=''
    for item in cpu_nr taskname release msgid; do
        wanted=0
        case " $SYSDATA " in *" $item "*) wanted=1 ;; esac
        if [ -e "$target/userdata/${item}_enabled" ]; then
            attribute "userdata/${item}_enabled" $wanted
        elif [ $wanted = 1 ]; then
            unknown="$unknown $item"
        fi
    done
    [ -z "$unknown" ] || say "not sent:$unknown; kernel $(uname -r) lacks them (added in 6.14 to 6.17)"
}

set_log_level() {
    [ -n "$LOGLEVEL" ] || return 0
    [ -e "$state/loglevel" ] || remember loglevel "$(console_level)"
    printf '%s\n' "$LOGLEVEL" > "$printk" || die "cannot set the console log level"
}

remember() { # NAME VALUE
    { mkdir -p "$state" && printf '%s\n' "$2" > "$state/$1"; } || die "cannot write $state"
}

# Prints the level below which messages are sent; 8 means all.
log_level() {
    if [ "$(cat "$root/sys/module/printk/parameters/ignore_loglevel" 2>/dev/null)" = Y ]; then
        echo 8
    else
        console_level
    fi
}

# Not with read, which reads byte by byte: files in /proc/sys end after the first read.
console_level() {
    # shellcheck disable=SC2046 # split into words
    set -- $(cat "$printk")
    echo "$1"
}

send_test_line() {
    level=$(log_level)
    if [ "$level" -lt 2 ]; then
        # The kernel writes messages of level 0 to all terminals.
        say "no test line sent: the console log level is $level"
        return
    fi
    [ "$level" -le 7 ] || level=7
    echo "<$((level - 1))>netconsd client: test line of $(uname -n)" > "$root/dev/kmsg" || die "cannot write to /dev/kmsg"
    say "wrote a test line to the kernel's log: the server should have received it"
}
