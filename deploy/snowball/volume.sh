#!/bin/sh
# A volume for the state of a machine that has none, as one that was started by autostart.sh: once, it stays with it.
#
#   DEVICE=192.0.2.10 sh volume.sh s.i-0abc
#
# The machine is stopped for it, and started again: then it finds the volume, and what it has as state moves there.
# SIZE_GB may be set.
set -eu
here=$(dirname "$0")
. "$here/device.sh"
[ $# = 1 ] || fail "usage: DEVICE=ADDRESS sh $0 MACHINE"
machine=$1

volume=$(ec2 create-volume --availability-zone snow --volume-type sbp1 --size "${SIZE_GB:-100}" --query VolumeId --output text)
ec2 stop-instances --instance-ids "$machine" >/dev/null
until_state "$machine" stopped
ec2 attach-volume --instance-id "$machine" --volume-id "$volume" --device /dev/sdh >/dev/null
ec2 start-instances --instance-ids "$machine" >/dev/null
until_state "$machine" running
echo "$machine with volume $volume"
