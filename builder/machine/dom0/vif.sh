#!/bin/sh
# Xen's hot-plug script for a network interface: a line of its own between a guest and dom0, no bridge. So everything
# a guest sends passes dom0's filter, and where it comes from is known by the interface.
PATH=/bin
case "$1" in online | add) ;; *) exit 0 ;; esac
name=$(xenstore-read "$XENBUS_PATH/vifname")
place=/run/guests/${name#g}
gateway=$(cat "$place/gateway")
ip link set dev "$vif" name "$name" &&
    ip link set dev "$name" address fe:ff:ff:ff:ff:ff &&
    ip link set dev "$name" up &&
    ip address add "$gateway/32" dev "$name" &&
    ip route add "$(cat "$place/address")/32" dev "$name" src "$gateway" || exit 1
# Guests take each other for neighbours (a /23, as on EC2): dom0 answers for all of them.
echo 1 >"/proc/sys/net/ipv4/conf/$name/proxy_arp"
echo 0 >"/proc/sys/net/ipv4/neigh/$name/proxy_delay"
: >"$place/leases"
udhcpd -f "$place/udhcpd.conf" >/dev/null 2>&1 3>&- &
xenstore-write "$XENBUS_PATH/hotplug-status" connected
domain=${XENBUS_PATH#*/vif/}
echo "${domain%%/*}" >"$place/domain"
