# Setting up at every boot: the script is stored and run again, because addresses may have changed.

persist() {
    { mkdir -p "${stored%/*}" && stored_script > "$stored" && chmod 755 "$stored"; } ||
        die "cannot write $stored"
    if [ -d "$root/run/systemd/system" ]; then
        { unit_text > "$unit_file" && systemctl --quiet enable "$unit"; } || die "cannot enable $unit_file"
        say "$unit sets this up at every boot"
    elif [ -d "${openrc_file%/*}" ]; then
        {
            printf '#!/bin/sh\nsh %s &\n' "$stored" > "$openrc_file" && chmod 755 "$openrc_file" &&
                rc-update add local default >/dev/null
        } || die "cannot enable $openrc_file"
        say "$openrc_file sets this up at every boot"
    elif [ -d "${cron_file%/*}" ]; then
        printf '@reboot root sh %s\n' "$stored" > "$cron_file" || die "cannot write $cron_file"
        say "$cron_file sets this up at every boot"
    else
        die "netconsole is set up, but found no systemd, OpenRC or cron: run $stored at the end of every boot"
    fi
}

unit_text() {
    cat <<END
[Unit]
Description=Kernel log to $SERVER by netconsole ($NAME)
Documentation=https://docs.kernel.org/networking/netconsole.html
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh $stored

[Install]
WantedBy=multi-user.target
END
}
