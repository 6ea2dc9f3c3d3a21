# Lets this machine send its kernel log: finds the way to the server, and sets netconsole up. Says on stderr what it did.
# netconsd wrote this script; the variables above are what it was asked for. It may run any number of times.

set -u
# For tests: a directory instead of /, for every file that is read or written.
root=${NETCONSD_ROOT-}
# An ssh without a login may lack the directories of an administrator's commands.
PATH=$PATH:$root/usr/sbin:$root/sbin
# The kernel's texts are looked for below, and must not be translated.
LC_ALL=C
export PATH LC_ALL

interfaces=$root/sys/class/net
module=$root/sys/module/netconsole
configfs=$root/sys/kernel/config
target=$configfs/netconsole/$NAME
printk=$root/proc/sys/kernel/printk
# What --remove needs to know until the next boot: the console log level before, and whether we loaded the module.
state=$root/run/netconsd-client-$NAME
stored=$root/etc/netconsd/client-$NAME.sh
unit=netconsd-client-$NAME.service
unit_file=$root/etc/systemd/system/$unit
openrc_file=$root/etc/local.d/netconsd-client-$NAME.start
# cron ignores files with a dot in their name.
cron_file=$root/etc/cron.d/netconsd-client-$(printf %s "$NAME" | tr . _)

ANSWER_SECONDS=5 # for a neighbour; the kernel gives up asking after three
BOOT_SECONDS=120 # for the network to come up when the machine boots

say() { printf 'netconsd client: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
now() { read -r uptime rest < /proc/uptime && echo "${uptime%%.*}"; }
# The kernel refuses a setting with "Invalid argument", and says the reason in its log only.
kernel_says() { dmesg 2>/dev/null | grep -e netconsole -e netpoll | tail -n 3 | sed 's/^/    /' >&2; }
