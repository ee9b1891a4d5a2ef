#!/bin/sh
# Xen's hot-plug script for a disk: says which device node the backend is to serve.
PATH=/bin
[ "$1" = add ] || exit 0
device=$(xenstore-read "$XENBUS_PATH/params")
xenstore-write \
    "$XENBUS_PATH/physical-device" "$(stat -L -c %t "$device"):$(stat -L -c %T "$device")" \
    "$XENBUS_PATH/physical-device-path" "$device" \
    "$XENBUS_PATH/hotplug-status" connected
