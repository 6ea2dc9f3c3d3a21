# netconsole: by configfs where the kernel has that, else by module parameter.

load_module() {
    [ ! -d "$module" ] || return 0
    reason=$(modprobe netconsole 2>&1) ||
        die "cannot load netconsole, which is CONFIG_NETCONSOLE of kernel $(uname -r): ${reason:-modprobe failed}"
    loaded_now=yes
}

# Whether targets can be made while the kernel runs: CONFIG_NETCONSOLE_DYNAMIC.
find_configfs() {
    [ ! -d "$configfs/netconsole" ] || return 0
    modprobe configfs 2>/dev/null
    mount -t configfs configfs "$configfs" 2>/dev/null
    [ -d "$configfs/netconsole" ]
}

set_parameter() {
    if [ -n "$USERDATA$SYSDATA" ]; then
        say 'userdata and sysdata need CONFIG_NETCONSOLE_DYNAMIC, which this kernel lacks: they are not sent'
    fi
    if [ -z "$loaded_now" ] && [ ! -e "$state/parameter" ]; then
        die "netconsole is in use already, and this kernel cannot change what it does while it runs:" \
            "end it (modprobe -r netconsole) and run this again"
    fi
    modprobe -r netconsole 2>/dev/null ||
        die "netconsole is built into this kernel, or in use: put this on the kernel's command line: $parameter"
    remember parameter yes
    if ! modprobe netconsole "$parameter"; then
        kernel_says
        die "the kernel does not take $parameter"
    fi
}

set_target() {
    if [ -d "$target" ]; then
        clear_target
    elif ! mkdir "$target"; then
        die "cannot make $target"
    fi
    attribute extended "${EXTENDED:-0}"
    if [ -e "$target/release" ]; then attribute release "${EXTENDED:-0}"; fi
    attribute dev_name "$interface"
    attribute local_port "$SOURCE_PORT"
    attribute remote_port "$PORT"
    # Without one, the kernel takes the interface's.
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
    die "the kernel does not take $2 for $1 of the target $NAME"
}

# A target that sends cannot be changed, and has userdata of its own.
clear_target() {
    if [ "$(cat "$target/enabled" 2>/dev/null)" = 1 ]; then attribute enabled 0; fi
    for item in "$target"/userdata/*/; do
        [ ! -d "$item" ] || rmdir "$item" || die "cannot remove $item"
    done
}

set_userdata() {
    [ -n "$USERDATA" ] || return 0
    if [ ! -d "$target/userdata" ]; then
        say "kernel $(uname -r) knows no userdata (6.9 and later do): it is not sent"
        return
    fi
    while IFS= read -r item; do
        mkdir "$target/userdata/${item%%=*}" ||
            die "the kernel does not take the userdata ${item%%=*} (kernels before 6.18 take 16 items)"
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
    [ -z "$unknown" ] || say "kernel $(uname -r) cannot send$unknown (they came with 6.14 to 6.17): they are not sent"
}

set_log_level() {
    [ -n "$LOGLEVEL" ] || return 0
    [ -e "$state/loglevel" ] || remember loglevel "$(console_level)"
    printf '%s\n' "$LOGLEVEL" > "$printk" || die "cannot set the console log level"
}

remember() { # NAME VALUE
    { mkdir -p "$state" && printf '%s\n' "$2" > "$state/$1"; } || die "cannot write $state"
}

# Messages below this level are sent; 8 for all.
log_level() {
    if [ "$(cat "$root/sys/module/printk/parameters/ignore_loglevel" 2>/dev/null)" = Y ]; then
        echo 8
    else
        console_level
    fi
}

# Not with read, which takes a byte at a time: files in /proc/sys end after the first.
console_level() {
    # shellcheck disable=SC2046 # words are what is wanted
    set -- $(cat "$printk")
    echo "$1"
}

send_test_line() {
    level=$(log_level)
    if [ "$level" -lt 2 ]; then
        # A message of level 0 would go to all terminals.
        say "no test line: the console log level is $level"
        return
    fi
    [ "$level" -le 7 ] || level=7
    echo "<$((level - 1))>netconsd client: test line of $(uname -n)" > "$root/dev/kmsg" || die "cannot write to /dev/kmsg"
    say "sent a test line through the kernel's log: it should be at the server now"
}
