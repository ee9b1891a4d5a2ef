#!/bin/sh
# Let in the SSH key that this instance was launched with: once for each instance, as root's.
# The metadata service is asked with a session token (IMDSv2); one that knows none is asked without (IMDSv1).
# Needs curl. It gives up after AMI_FACTORY_TRIES tries, so that a boot never hangs on it.
set -u
umask 077

metadata=${AMI_FACTORY_METADATA:-http://169.254.169.254}
root=${AMI_FACTORY_ROOT:-}
tries=${AMI_FACTORY_TRIES:-10}
pause=${AMI_FACTORY_PAUSE:-1}
patience=${AMI_FACTORY_PATIENCE:-4}
home=$root/root
state=$root/var/lib/ami-factory/ssh-key-instance

say() { echo "fetch-ssh-key: $*" >&2; }

work=$(mktemp -d "${TMPDIR:-/tmp}/fetch-ssh-key.XXXXXX") || exit 1
new=
trap 'rm -rf "$work" "$new"' EXIT
trap 'exit 1' HUP INT TERM

# ask ARGUMENT...: what --output names gets a body; prints a line for each, its HTTP status or 000.
ask() {
    curl --silent --globoff --noproxy '*' --max-time "$patience" --max-filesize 65536 --write-out '%{http_code}\n' "$@"
}

fetch_token() {
    : >"$work/header"
    status=$(ask --output "$work/token" --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 300' \
        "$metadata/latest/api/token")
    if [ "$status" = 200 ] && grep -Eqx '[A-Za-z0-9_=+/-]+' "$work/token"; then
        printf 'X-aws-ec2-metadata-token: %s\n' "$(cat "$work/token")" >"$work/header"
    fi
}

# Both answers by one process: a status a line. With the session token if there is one.
fetch_key() {
    : >"$work/instance"
    if [ -s "$work/header" ]; then set -- --header "@$work/header"; else set --; fi
    ask "$@" --output "$work/instance" "$metadata/latest/meta-data/instance-id" \
        --output "$work/answer" "$metadata/latest/meta-data/public-keys/0/openssh-key" >"$work/statuses"
    whole=$?  # of the key, the last one: it may be cut short
    { read -r instance_status; read -r key_status; } <"$work/statuses"
    [ "$whole" = 0 ] || key_status=000
}

# Only lines that are a public key and nothing else: no options, no markup of an error page.
public_keys() {
    tr -d '\r' <"$1" | grep -E '^(ssh-(ed25519|rsa|dss)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]+=*( .*)?$'
}

# 0: done, also when the instance has no key. 1: try again. 2: it never will.
try() {
    fetch_token
    fetch_key
    [ "$instance_status" = 200 ] || { say "instance-id: HTTP status ${instance_status:-000}"; return 1; }
    instance=$(cat "$work/instance")
    case $instance in ''|*[!A-Za-z0-9-]*) say "instance-id: not an id"; return 1 ;; esac
    if [ "$(cat "$state" 2>/dev/null)" = "$instance" ]; then
        say "$instance has been served before"
        return 0
    fi
    case ${key_status:-000} in
        200) public_keys "$work/answer" >"$work/keys" || { say "the answer is not a public key"; return 1; }
             add_keys || return 2 ;;
        404) say "$instance was launched without a key" ;;
        *) say "openssh-key: HTTP status ${key_status:-000}"; return 1 ;;
    esac
    remember || return 2
}

add_keys() {
    mkdir -p "$home/.ssh" && chmod 700 "$home/.ssh" || return 1
    new=$(mktemp "$home/.ssh/.authorized_keys.XXXXXX") || return 1
    if [ -e "$home/.ssh/authorized_keys" ]; then
        cat "$home/.ssh/authorized_keys" >"$new" || return 1
        [ -z "$(tail -c 1 "$new")" ] || echo >>"$new" || return 1
    fi
    while IFS= read -r key; do
        grep -qxF -e "$key" "$new" || printf '%s\n' "$key" >>"$new" || return 1
    done <"$work/keys"
    chmod 600 "$new" && mv -f "$new" "$home/.ssh/authorized_keys" || return 1
    if command -v restorecon >/dev/null 2>&1; then
        restorecon -R "$home/.ssh" || say "restorecon failed"
    fi
    say "key of $instance added"
}

remember() {
    mkdir -p "${state%/*}" && printf '%s\n' "$instance" >"$state.new" && mv -f "$state.new" "$state"
}

n=1
while :; do
    try
    case $? in
        0) exit 0 ;;
        2) say "cannot write under $home or ${state%/*}"; exit 1 ;;
    esac
    [ "$n" -lt "$tries" ] || break
    sleep "$pause"
    n=$((n + 1))
    [ "$pause" = 0 ] || [ "$pause" -ge 5 ] || pause=$((pause + 1))
done
say "no key after $n tries"
exit 1
