#!/bin/sh
# A machine from the AMI, with a volume for its state and an address.
#
#   DEVICE=192.0.2.10 sh launch.sh s.ami-0abc user-data.sh 192.0.2.20 192.0.2.0/24
#
# What is named last is the network from which it may be reached by SSH. TYPE, SIZE_GB and PORT may be set: the type of
# the machine, the size of the volume, the physical port (`snowballEdge describe-device`; the first without it).
set -eu
here=$(dirname "$0")
. "$here/device.sh"
[ $# = 4 ] || fail "usage: DEVICE=ADDRESS sh $0 AMI USER-DATA ADDRESS NETWORK"
ami=$1 script=$2 address=$3 network=$4

port=${PORT:-$(snowballEdge describe-device --endpoint "https://$DEVICE" | \
    sed -n 's/.*"PhysicalNetworkInterfaceId" *: *"\([^"]*\)".*/\1/p' | head -n 1)}
[ -n "$port" ] || fail "no physical port was found: say it by PORT=s.ni-..."
if [ ! -e edge.pem ]; then
    (umask 077; ec2 create-key-pair --key-name edge --query KeyMaterial --output text > edge.pem.new)
    mv edge.pem.new edge.pem
fi
group=$(security_group)
if [ -z "$group" ]; then
    group=$(ec2 create-security-group --group-name edge --description edge --query GroupId --output text)
    ec2 authorize-security-group-ingress --group-id "$group" --protocol tcp --port 22 --cidr "$network" >/dev/null
fi

# The volume (sbp1: on SSD) is there from the first start on, and stays when the machine goes. A machine that ends itself
# is only stopped. The first start may take an hour and a half.
machine=$(ec2 run-instances --image-id "$ami" --count 1 --instance-type "${TYPE:-sbe-c.large}" --key-name edge \
    --security-group-ids "$group" --user-data "file://$script" --instance-initiated-shutdown-behavior stop \
    --block-device-mappings \
    "[{\"DeviceName\":\"/dev/sdh\",\"Ebs\":{\"DeleteOnTermination\":false,\"VolumeSize\":${SIZE_GB:-100},\"VolumeType\":\"sbp1\"}}]" \
    --query 'Instances[0].InstanceId' --output text)
until_state "$machine" running

snowballEdge create-virtual-network-interface --endpoint "https://$DEVICE" --physical-network-interface-id "$port" \
    --ip-address-assignment STATIC --static-ip-address-configuration "IpAddress=$address,Netmask=255.255.255.0" >&2
ec2 associate-address --public-ip "$address" --instance-id "$machine" >/dev/null
echo "$machine: ssh -i edge.pem debian@$address"
