#!/bin/busybox sh
# The first process of a guest that the script of netconsd client sets up, as a person would; then a disk fails, and the
# kernel crashes. The other files are those of tests/kernel/initramfs.py.

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

say() { echo "guest: $*" > /dev/console; }

while read -r module; do insmod "/modules/$module.ko" || say "cannot load $module"; done < /modules/order
insmod /modules/netconsole.ko || say "cannot load netconsole"
ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up || say "no eth0"
until [ "$(cat /sys/class/net/eth0/carrier 2>/dev/null)" = 1 ]; do usleep 10000; done
sh < /client > /dev/console 2>&1 || say "the client's script failed"

for number in 1 2 3 4 5; do echo "<4>sda: request $number timed out" > /dev/kmsg; done
echo c > /proc/sysrq-trigger
