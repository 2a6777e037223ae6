#!/bin/sh
# The last of the root folder $1: what starts, what never does, and nothing in it that clones would share.
set -eu
chroot "$1" /usr/lib/edge-image/boot-files
systemctl --root="$1" enable edge-data.service systemd-networkd.service systemd-resolved.service ssh.service
# Nothing restarts or ends the machine by itself, nor changes it behind the back of who runs it.
systemctl --root="$1" mask ctrl-alt-del.target apt-daily.timer apt-daily-upgrade.timer \
    e2scrub_all.timer e2scrub_reap.service
mkdir -p "$1/var/log/journal"
rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/resolv.conf"
ln -s /run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"
: > "$1/etc/machine-id"
rm -rf "$1/var/lib/cloud" "$1/var/lib/dbus/machine-id" "$1"/var/cache/apt/*.bin "$1"/var/lib/apt/lists/* "$1"/tmp/* "$1"/var/log/*.log
