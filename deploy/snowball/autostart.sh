#!/bin/sh
# The machine starts by itself whenever the device was restarted and unlocked.
#
#   DEVICE=192.0.2.10 sh autostart.sh s.ami-0abc user-data.sh 192.0.2.20
#
# Afterwards restart and unlock the device once. TYPE and CONNECTOR (SFP_PLUS, RJ45, QSFP) may be set.
set -eu
here=$(dirname "$0")
. "$here/device.sh"
[ $# = 3 ] || fail "usage: DEVICE=ADDRESS sh $0 AMI USER-DATA ADDRESS"
ami=$1 script=$2 address=$3

data=$(base64 -w 0 "$script")
template=$(ec2 create-launch-template --launch-template-name edge --launch-template-data \
    "{\"ImageId\":\"$ami\",\"InstanceType\":\"${TYPE:-sbe-c.large}\",\"InstanceInitiatedShutdownBehavior\":\"stop\",\"UserData\":\"$data\"}" \
    --query LaunchTemplate.LaunchTemplateId --output text)
snowballEdge create-autostart-configuration --endpoint "https://$DEVICE" \
    --physical-connector-type "${CONNECTOR:-SFP_PLUS}" --ip-address-assignment STATIC \
    --static-ip-address-configuration "IpAddress=$address,NetMask=255.255.255.0" --launch-template-id "$template"
