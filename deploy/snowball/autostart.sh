#!/bin/sh
# The machine starts by itself whenever the device was restarted and unlocked.
#
#   DEVICE=192.0.2.10 sh autostart.sh s.ami-0abc user-data.sh 192.0.2.20
#
# Afterwards restart and unlock the device once: that starts a machine, which is found by `aws ec2 describe-instances`.
# Give it its volume by volume.sh. TYPE and CONNECTOR (SFP_PLUS, RJ45, QSFP) may be set. The key and the security group
# are those that launch.sh makes; a machine that launch.sh has started with this address is to be terminated before.
set -eu
here=$(dirname "$0")
. "$here/device.sh"
[ $# = 3 ] || fail "usage: DEVICE=ADDRESS sh $0 AMI USER-DATA ADDRESS"
ami=$1 script=$2 address=$3

group=$(security_group)
[ -n "$group" ] || fail "there is no security group edge: run launch.sh first, or aws ec2 create-security-group"
data=$(base64 -w 0 "$script")
template=$(ec2 create-launch-template --launch-template-name edge --launch-template-data \
    "{\"ImageId\":\"$ami\",\"InstanceType\":\"${TYPE:-sbe-c.large}\",\"KeyName\":\"edge\",\"SecurityGroupIds\":[\"$group\"],\"UserData\":\"$data\"}" \
    --query LaunchTemplate.LaunchTemplateId --output text)
snowballEdge create-autostart-configuration --endpoint "https://$DEVICE" \
    --physical-connector-type "${CONNECTOR:-SFP_PLUS}" --ip-address-assignment STATIC \
    --static-ip-address-configuration "IpAddress=$address,NetMask=255.255.255.0" --launch-template-id "$template"
