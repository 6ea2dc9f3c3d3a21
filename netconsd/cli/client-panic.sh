# Warnings on settings with which nothing of a panic is sent, by the kernel and the machine (netconsd's docs: clients).

# Sets panic_arrives to always, reboots, part or never: when a panic is lost. The rules are MAJOR:MACHINE:WHEN.
find_panic_rule() {
    panic_arrives=never
    major=$(uname -r)
    major=${major%%.*}
    machine=$(uname -m)
    for rule in $PANIC_ARRIVES; do
        case $rule in
            "$major:$machine:"* | "$major:any:"*)
                panic_arrives=${rule##*:}
                return
                ;;
        esac
    done
}

warn_of_panic() {
    find_panic_rule
    kernel="kernel $(uname -r)"
    panic=$(cat "$root/proc/sys/kernel/panic" 2>/dev/null)
    if [ "$panic_arrives" = always ]; then
        say "warning: $kernel sends nothing of a panic on $machine, with any setting: also use kdump or pstore"
    elif [ "$panic_arrives" = part ]; then
        say "warning: $kernel sends only a part of a panic on $machine: also use kdump or pstore"
    elif [ "$panic_arrives" = reboots ]; then
        if [ "$(cat "$root/sys/kernel/kexec_crash_loaded" 2>/dev/null)" = 1 ]; then
            say "warning: $kernel sends nothing of a panic while a kernel for kdump is loaded: kdump keeps it instead"
        elif [ "${panic:-0}" != 0 ]; then
            say "warning: $kernel sends nothing of a panic, because /proc/sys/kernel/panic is $panic"
            say "to send it, set kernel.panic = 0 in /etc/sysctl.d, and no panic= on the kernel's command line"
            say_watchdog
        fi
    fi
}

# Says how the machine then comes back: with panic=0 the kernel does not reboot.
say_watchdog() {
    for watchdog in "$root"/sys/class/watchdog/*/identity; do
        [ -e "$watchdog" ] || continue
        case $(cat "$watchdog") in
            [Ss]oft*) ;; # the kernel's own timer, which stops in a panic
            *)
                say "and let the hardware watchdog reset the machine: RuntimeWatchdogSec=30 in /etc/systemd/system.conf"
                return
                ;;
        esac
    done
    say "but no hardware watchdog was found, without which somebody has to reset the machine after a panic"
}
