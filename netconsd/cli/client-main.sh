# The actions: set up, set up at boot, print, remove.

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
    say "removed the target $NAME and everything set up with it"
}

set_up() {
    loaded_now=''
    load_module
    set_log_level
    if find_configfs; then set_target; else set_parameter; fi
    say "the kernel's log goes to $SERVER, port $PORT, through $interface and $mac"
    level=$(log_level)
    [ "$level" -ge 8 ] || say "only messages below level $level are sent, as to the console (--loglevel 8 sends all)"
}

main() {
    if [ "$ACTION" != print ] && [ "$(id -u)" != 0 ]; then
        die 'root is required: run the script with sudo sh'
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
    warn_of_panic
    [ -z "$TEST" ] || send_test_line
    if [ -n "$PERSIST" ]; then
        persist
    elif [ "$ACTION" = setup ] && [ -e "$stored" ]; then
        say "$stored still sets up the earlier target at boot: use --persist to replace it"
    fi
}

# The last line, so that a truncated script does nothing. Without /dev/null, a command could read the rest of the pipe.
main </dev/null
