#!/bin/busybox sh
# Process 1 of dom0: modules, Xen's daemons, the way out to QEMU's network, and then the agent that the host talks to.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /run/xen /run/lock /run/guests
mount -t devpts pts /dev/pts
exec </dev/console >/dev/console 2>&1

say() { read -r up _ </proc/uptime; echo "@@dom0 $up $*"; }

while read -r module; do
    insmod "/modules/$module.ko" || say "insmod $module failed"
done </modules/order
mount -t xenfs xenfs /proc/xen
xenstored --pid-file /run/xenstored.pid && xen-init-dom0 && xenconsoled || say "the toolstack failed"

# dom0 routes between its guests and QEMU's user network (100.64.0.0/16: builder/machine/network.py).
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
ip address add 169.254.169.254/32 dev lo
ip link set eth0 up
ip address add 100.64.0.2/16 dev eth0
echo 1 >/proc/sys/net/ipv4/conf/eth0/proxy_arp
echo 0 >/proc/sys/net/ipv4/neigh/eth0/proxy_delay
nft -f /etc/nftables.conf || say "nft failed"

say ready
exec /agent
