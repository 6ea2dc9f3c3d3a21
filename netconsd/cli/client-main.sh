# What it was asked for.

remove() {
    if [ -e "$unit_file" ]; then systemctl --quiet disable "$unit" || die "cannot disable $unit"; fi
    for file in "$unit_file" "$openrc_file" "$cron_file" "$stored"; do
        [ ! -e "$file" ] || rm "$file" || die "cannot remove $file"
    done
    if [ -d "$target" ]; then
        clear_target
        rmdir "$target" || die "cannot remove $target"
    elif [ -e "$state/parameter" ] && [ -d "$module" ]; then
        modprobe -r netconsole || die "cannot unload netconsole"
    fi
    if [ -e "$state/loglevel" ]; then cat "$state/loglevel" > "$printk"; fi
    rm -rf "$state"
    say "the target $NAME is no more, nor anything else that was set up with it"
}

set_up() {
    loaded_now=''
    load_module
    set_log_level
    if find_configfs; then set_target; else set_parameter; fi
    say "the kernel's log goes to $SERVER, port $PORT, through $interface and $mac"
    level=$(log_level)
    [ "$level" -ge 8 ] || say "only messages below level $level are sent, as on the console (--loglevel 8 sends all)"
}

main() {
    if [ "$ACTION" != print ] && [ "$(id -u)" != 0 ]; then
        die 'this needs root: run it with sudo sh, or as root'
    fi
    if [ "$ACTION" = remove ]; then
        remove
        return
    fi
    wait_until=$(now)
    [ "$ACTION" != boot ] || wait_until=$((wait_until + BOOT_SECONDS))
    until find_way; do
        [ "$(now)" -lt "$wait_until" ] || die "$problem"
        sleep 1
    done
    make_parameter
    if [ "$ACTION" = print ]; then
        echo "$parameter"
        return
    fi
    set_up
    [ -z "$TEST" ] || send_test_line
    if [ -n "$PERSIST" ]; then
        persist
    elif [ "$ACTION" = setup ] && [ -e "$stored" ]; then
        say "at boot, $stored still does what it was written for: --persist writes it anew"
    fi
}

# All of the script was read before this line runs; and what it starts must not read on, where it comes through a pipe.
main </dev/null
