#!/bin/sh
# Let in the SSH key that this instance was launched with: once for each instance, as root's.
# The metadata service is asked with a session token (IMDSv2); one that knows none is asked without (IMDSv1).
# Needs curl. It gives up after AMI_FACTORY_TRIES tries, so that a boot never hangs on it. What a shell can do by itself it
# does: sshd waits for this, and to start a program takes a small emulated machine half a second.
set -u
umask 077

metadata=${AMI_FACTORY_METADATA:-http://169.254.169.254}
root=${AMI_FACTORY_ROOT:-}
tries=${AMI_FACTORY_TRIES:-10}
pause=${AMI_FACTORY_PAUSE:-1}
patience=${AMI_FACTORY_PATIENCE:-4}
home=$root/root
state=$root/var/lib/ami-factory/ssh-key-instance
return=$(printf '\r')

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
    token=
    [ "$status" != 200 ] || token=$(first_line "$work/token")
    case $token in ''|*[!A-Za-z0-9_=+/-]*) ;; *) printf 'X-aws-ec2-metadata-token: %s\n' "$token" >"$work/header" ;; esac
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

first_line() {
    [ -e "$1" ] || return 0
    IFS= read -r line <"$1" || :
    printf '%s' "$line"
}

# Only lines that are a public key and nothing else: no options, no markup of an error page.
public_keys() {
    found=1
    while IFS= read -r line || [ -n "$line" ]; do
        line=${line%"$return"}
        kind=${line%% *} body=${line#* }
        case $kind in
            ssh-ed25519|ssh-rsa|ssh-dss|ecdsa-sha2-nistp256|ecdsa-sha2-nistp384|ecdsa-sha2-nistp521) ;;
            sk-ssh-ed25519@openssh.com|sk-ecdsa-sha2-nistp256@openssh.com) ;;
            *) continue ;;
        esac
        case ${body%% *} in ''|"$kind"|*[!A-Za-z0-9+/=]*) continue ;; esac
        printf '%s\n' "$line"
        found=0
    done <"$1"
    return "$found"
}

# 0: done, also when the instance has no key. 1: try again. 2: it never will.
try() {
    fetch_token
    fetch_key
    [ "$instance_status" != 403 ] || { say "the metadata service is switched off"; return 0; }
    [ "$instance_status" = 200 ] || { say "instance-id: HTTP status ${instance_status:-000}"; return 1; }
    instance=$(first_line "$work/instance")
    case $instance in ''|*[!A-Za-z0-9-]*) say "instance-id: not an id"; return 1 ;; esac
    if [ "$(first_line "$state")" = "$instance" ]; then
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
    keys=$home/.ssh/authorized_keys
    [ -d "$home/.ssh" ] || mkdir -p "$home/.ssh" || return 1
    new=$(mktemp "$home/.ssh/.authorized_keys.XXXXXX") || return 1
    if [ -s "$keys" ]; then
        chmod 700 "$home/.ssh" && cat "$keys" >"$new" || return 1
        [ -z "$(tail -c 1 "$new")" ] || echo >>"$new" || return 1
    fi
    while IFS= read -r key; do
        has_line "$key" "$new" || printf '%s\n' "$key" >>"$new" || return 1
    done <"$work/keys"
    mv -f "$new" "$keys" || return 1
    if command -v restorecon >/dev/null 2>&1; then
        restorecon -R "$home/.ssh" || say "restorecon failed"
    fi
    say "key of $instance added"
}

has_line() {
    while IFS= read -r line; do
        [ "$line" != "$1" ] || return 0
    done <"$2"
    return 1
}

remember() {
    [ -d "${state%/*}" ] || mkdir -p "${state%/*}" || return 1
    printf '%s\n' "$instance" >"$state.new" && mv -f "$state.new" "$state"
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
