#!/bin/sh
# At order time, in the AWS cloud: the image as an AMI, so that the device comes with it.
#
#   sh order.sh IMAGE.raw BUCKET        prints the id of the AMI, for `Ec2AmiResources` of the job
#
# Needs the AWS CLI, a bucket of yours, and the role vmimport of VM Import/Export.
set -eu
[ $# = 2 ] || { echo "usage: $0 IMAGE.raw BUCKET" >&2; exit 2; }
image=$1 bucket=$2
key=$(basename "$image")
name=${key%-amd64.raw}

aws s3 cp "$image" "s3://$bucket/$key"
task=$(aws ec2 import-snapshot --description "$name" \
    --disk-container "Format=RAW,UserBucket={S3Bucket=$bucket,S3Key=$key}" --query ImportTaskId --output text)
aws ec2 wait snapshot-imported --import-task-ids "$task"
snapshot=$(aws ec2 describe-import-snapshot-tasks --import-task-ids "$task" \
    --query 'ImportSnapshotTasks[0].SnapshotTaskDetail.SnapshotId' --output text)
aws ec2 register-image --name "$name" --architecture x86_64 --virtualization-type hvm --ena-support \
    --root-device-name /dev/sda1 \
    --block-device-mappings "DeviceName=/dev/sda1,Ebs={SnapshotId=$snapshot,DeleteOnTermination=true}" \
    --query ImageId --output text
