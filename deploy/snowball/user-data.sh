#!/bin/sh
# User data for any Debian image that has the package edge-runtime: a blank volume gets the label that the state is
# looked for by. The image of `edge build image` needs none of it: there `edge build seed` writes the user data.
set -eu
dev=${1:-/dev/vda}
if [ -b "$dev" ]; then
    blkid --probe "$dev" >/dev/null 2>&1 || mkfs.ext4 -q -L edge-data "$dev"
    grep -q edge-data /etc/fstab ||
        echo 'LABEL=edge-data /var/lib/edge-runtime ext4 noatime,nofail 0 2' >> /etc/fstab
    systemctl daemon-reload
    mount -a
    chown edge-runtime: /var/lib/edge-runtime
fi
systemctl enable --now edge-runtime
