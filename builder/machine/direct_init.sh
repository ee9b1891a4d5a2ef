#!/bin/busybox sh
# From plain QEMU's disks into the image: its own initrd knows Xen's disks only. Disks get the names that the image's
# fstab calls them by, through udev.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=755 run /run
while read -r module; do insmod "/modules/$module"; done </modules/order
mkdir -p /run/udev/rules.d /root
cp /disks.rules /run/udev/rules.d/90-ami-factory.rules
root=$(sed 's/.*\broot=\([^ ]*\).*/\1/' /proc/cmdline)
tries=100
while [ ! -b "$root" ] && [ "$tries" -gt 0 ]; do
    usleep 50000
    tries=$((tries - 1))
done
mount -o ro "$root" /root || { echo "ami-factory: cannot mount the root file system"; poweroff -f; }
for each in proc sys dev run; do mount --move "/$each" "/root/$each"; done
exec switch_root /root /sbin/init
echo "ami-factory: the image has no /sbin/init"
poweroff -f
