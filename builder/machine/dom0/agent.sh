#!/bin/sh
# Does in dom0 what the host asks for: a line in, a line out, over a virtio-serial port (builder/machine/control.py).
#   in:   ID VERB ARGUMENT...            out:   ID ok [TEXT] | ID failed BASE64   and, when it happens,
#   event gone SLOT REASON [BASE64]      REASON: poweroff reboot suspend crash watchdog failed destroyed
# A guest is known by its slot; /run/guests/SLOT holds its files.
PATH=/bin
export PATH
PORT=/dev/vport0p1

reply() { echo "$*" >&3; }

encoded() { tail -c 3000 "$1" | base64 | tr -d '\n'; }

# put PATH BASE64
put() {
    mkdir -p "${1%/*}" && echo "$2" | base64 -d >"$1"
}

# The device node of a LUN, once the kernel has seen it.
disk() {
    tries=200
    while [ "$tries" -gt 0 ]; do
        for node in /sys/bus/scsi/devices/[0-9]*:0:0:"$1"/block/*; do
            [ -b "/dev/${node##*/}" ] && { echo "/dev/${node##*/}"; return 0; }
        done
        usleep 25000
        tries=$((tries - 1))
    done
    echo "no disk at LUN $1"
    return 1
}

# copy DEVICE SIZE PATH: the first SIZE bytes of a disk, as a file.
copy() {
    mkdir -p "${3%/*}" && head -c "$2" "$1" >"$3"
}

# create SLOT: returns when the domain is there, or is gone already.
create() {
    place=/run/guests/$1
    rm -f "$place/gone" "$place/xl.log" "$place/domain"
    ( live "$1" ) &
    while [ ! -e "$place/console" ] && [ ! -e "$place/gone" ]; do usleep 20000; done
}

# The life of one domain, from its creation to its end.
live() {
    place=/run/guests/$1
    ( console "$1" ) &
    console=$!
    xl create -F "$place/xl.cfg" >"$place/xl.log" 2>&1
    : >"$place/gone"
    code=$(sed -n 's/^Domain [0-9]* has shut down, reason code \([0-9]*\).*/\1/p' "$place/xl.log" | tail -n 1)
    case $code in
        0) reason=poweroff ;;
        1) reason=reboot ;;
        2) reason=suspend ;;
        3) reason=crash ;;
        4) reason=watchdog ;;
        *) if [ -e "$place/console" ]; then reason=destroyed; else reason=failed; fi ;;
    esac
    kill "$(cat "$place/udhcpd.pid")" 2>/dev/null
    usleep 200000  # the rest of the console is on its way
    kill "$console" 2>/dev/null
    rm -f "$place/console"
    reply "event gone $1 $reason $(encoded "$place/xl.log")"
}

# Everything that the guest writes to its console, to the port that the host has for it.
console() {
    place=/run/guests/$1
    # vif.sh tells the domain's number; to ask xl for it again and again would keep the one processor from making it.
    until [ -s "$place/domain" ] && tty=$(xenstore-read "/local/domain/$(cat "$place/domain")/console/tty" 2>/dev/null)
    do
        [ -e "$place/gone" ] && return
        usleep 100000
    done
    : >"$place/console"
    port=/dev/$(grep -lx "console$1" /sys/class/virtio-ports/*/name | head -n 1 | cut -d/ -f5)
    exec cat "$tty" >"$port"
}

handle() {
    case $1 in
        ping) ;;
        put) put "$2" "$3" ;;
        rules) nft -f /run/rules ;;
        disk) disk "$2" ;;
        copy) copy "$2" "$3" "$4" ;;
        create) create "$2" ;;
        destroy) xl destroy "g$2" ;;
        shutdown) xl shutdown "g$2" ;;
        reboot) xl reboot "g$2" ;;
        forget) rm -rf "/run/guests/$2" ;;
        time) date -s "@$2" >/dev/null ;;
        show) eval "$(echo "$2" | base64 -d)" ;;
        *) echo "unknown request $1"; return 1 ;;
    esac
}

# One request after the other, except for what waits: each has an output file of its own.
serve() {
    id=$1
    shift
    if handle "$@" >"/run/reply.$id" 2>&1; then
        reply "$id ok $(tr '\n' ' ' <"/run/reply.$id")"
    else
        reply "$id failed $(encoded "/run/reply.$id")"
    fi
    rm -f "/run/reply.$id"
}

while :; do
    exec 3<>"$PORT"
    reply "event ready"
    while read -r line <&3; do
        # shellcheck disable=SC2086 # a request is words
        ( serve $line ) &
    done
    exec 3>&-
    usleep 100000
done
