#!/bin/sh
# Makes the file system that /etc/fstab mounts by its label, on the first blank disk of the instance store: $1, such as
# nvme1n1. A disk that has anything on it is left alone, and so are all others once one has the label.
set -eu
label=ephemeral0
exec 9>/run/ami-factory-ephemeral.lock
flock 9
status=0
blkid --probe "/dev/$1" >/dev/null 2>&1 || status=$?
# blkid(8): 2 is "nothing there", 8 is "not sure".
[ "$status" -eq 2 ] || exit 0
for device in /dev/nvme*n1; do
    [ "$(blkid --probe --match-tag LABEL --output value "$device" 2>/dev/null || :)" != "$label" ] || exit 0
done
# No discard: the disk comes trimmed, and it can take minutes.
exec mkfs.ext4 -q -F -L "$label" -m 0 -E nodiscard "/dev/$1"
