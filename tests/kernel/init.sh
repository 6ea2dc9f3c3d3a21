#!/bin/busybox sh
# The guest's first process, and nearly its only one: sets up netconsole, writes to the kernel's log, crashes.
# The variables in capitals are from /settings, which initramfs.py writes.

/bin/busybox --install -s /bin
export PATH=/bin
. /settings
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

say() { echo "guest: $*" > /dev/console; }
log() { echo "<6>$*" > /dev/kmsg; }

while read -r module; do insmod "/modules/$module.ko" || say "cannot load $module"; done < /modules/order
mount -t configfs configfs /sys/kernel/config
ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up || say "no eth0"
until [ "$(cat /sys/class/net/eth0/carrier 2>/dev/null)" = 1 ]; do usleep 10000; done

# By module parameter: the kernel sends its whole log so far, and then what comes.
insmod /modules/netconsole.ko "netconsole=$TARGETS" || say "netconsole does not take $TARGETS"

# By configfs.
userdata() { # DIRECTORY: attach its files
    for file in "$1"/*; do
        mkdir "$target/userdata/${file##*/}"
        cat "$file" > "$target/userdata/${file##*/}/value" || say "cannot attach $file"
    done
}
set_target() { echo "$2" > "$target/$1" || say "cannot set $1"; }
make_target() { # NAME LOCAL-PORT REMOTE-PORT
    target=/sys/kernel/config/netconsole/$1
    mkdir "$target"
    set_target dev_name eth0
    set_target local_ip 10.0.2.15
    set_target local_port "$2"
    set_target remote_ip 10.0.2.2
    set_target remote_port "$3"
    set_target remote_mac 52:55:0a:00:02:02
    set_target extended 1
    [ -d "$target/userdata" ] && userdata /userdata
    for item in cpu_nr taskname release msgid; do
        [ -e "$target/userdata/${item}_enabled" ] && set_target userdata/${item}_enabled 1
    done
    set_target enabled 1
}
make_target lossy "$LOSSY_LOCAL_PORT" "$LOSSY_PORT"
make_target test "$CONFIGFS_PORT" "$PORT"

# By the script of netconsd client, which finds the way by itself; and again, as it may run at any time.
sh < /client > /dev/console 2>&1 || say "the client's script failed"
sh < /client > /dev/console 2>&1 || say "the client's script failed when it ran again"

for record in /records/*; do
    dd if="$record" of=/dev/kmsg bs=4096 2>/dev/null || say "cannot write $record"
done

exec 3> /dev/kmsg
i=0
while [ $i -lt "$BURST" ]; do
    echo "<6>burst: $i" >&3
    i=$((i + 1))
done

if [ -d "$target/userdata" ]; then
    userdata /userdata-large
    log "with large userdata"
fi

# From here on legacy lines have no time stamp; it makes no difference to the extended format.
echo N > /sys/module/printk/parameters/time
log "about to crash"
echo c > /proc/sysrq-trigger
