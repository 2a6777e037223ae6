#!/bin/sh
# Without the cloud, on a device that is unlocked: the image becomes an AMI of the device.
#
#   DEVICE=192.0.2.10 sh import.sh edge-runtime-1.0.0-amd64.raw      prints the id of the AMI
#
# The bucket edge-images must be there. One import at a time; the device must not be restarted meanwhile.
set -eu
here=$(dirname "$0")
. "$here/device.sh"
[ $# = 1 ] || fail "usage: DEVICE=ADDRESS sh $0 IMAGE.raw"
image=$1 bucket=edge-images
key=$(basename "$image")
name=${key%-amd64.raw}

s3api put-object --bucket "$bucket" --key "$key" --body "$image" >/dev/null

# The role that the import service takes on; what is there already stays.
if ! iam get-role --role-name vmimport >/dev/null 2>&1; then
    iam create-role --role-name vmimport --assume-role-policy-document "file://$here/trust.json" >/dev/null
    policy=$(iam create-policy --policy-name vmimport-read --policy-document "file://$here/vmimport-read.json" \
        --query Policy.Arn --output text)
    iam attach-role-policy --role-name vmimport --policy-arn "$policy"
fi

task=$(ec2 import-snapshot --description "$name" \
    --disk-container "Format=RAW,UserBucket={S3Bucket=$bucket,S3Key=$key}" --query ImportTaskId --output text)
while :; do
    said=$(ec2 describe-import-snapshot-tasks --import-task-ids "$task" \
        --query 'ImportSnapshotTasks[0].SnapshotTaskDetail.[Status,SnapshotId,StatusMessage]' --output text)
    case $said in
    completed*) break ;;
    error* | deleted* | deleting*) fail "the import did not work: $said" ;;
    esac
    echo "$task: $said" >&2
    sleep 30
done
snapshot=$(echo "$said" | cut -f 2)
ec2 register-image --name "$name" --description "edge runtime" --root-device-name /dev/sda1 --block-device-mappings \
    "[{\"DeviceName\":\"/dev/sda1\",\"Ebs\":{\"Encrypted\":false,\"DeleteOnTermination\":true,\"SnapshotId\":\"$snapshot\",\"VolumeSize\":8}}]" \
    --query ImageId --output text
