# Where the services of the device are: read by the other scripts. DEVICE is its address, as in: DEVICE=192.0.2.10.
# Keys, once, under the name PROFILE in ~/.aws/credentials: snowballEdge list-access-keys; get-secret-access-key.
# With HTTPS=1 and AWS_CA_BUNDLE, the device's certificate: snowballEdge list-certificates; get-certificate.
: "${DEVICE:?say the address of the device, as in DEVICE=192.0.2.10 sh $0}"
PROFILE=${PROFILE:-snow}
if [ "${HTTPS:-0}" = 1 ]; then
    : "${AWS_CA_BUNDLE:?https needs the certificate of the device, which changes with its address}"
    ec2=https://$DEVICE:8243 iam=https://$DEVICE:6089 adapter=https://$DEVICE:8443
else
    ec2=http://$DEVICE:8008 iam=http://$DEVICE:6078 adapter=http://$DEVICE:8080
fi
# S3-compatible storage has an address of its own; without S3 it is the S3 adapter.
s3=${S3:-$adapter}
ec2() { aws ec2 "$@" --endpoint-url "$ec2" --region snow --profile "$PROFILE"; }
iam() { aws iam "$@" --endpoint-url "$iam" --region snow --profile "$PROFILE"; }
s3api() { aws s3api "$@" --endpoint-url "$s3" --region snow --profile "$PROFILE"; }
security_group() { ec2 describe-security-groups --query "SecurityGroups[?GroupName=='edge'].GroupId" --output text; }
# The waiters of the AWS CLI give up after ten minutes: too early for a first start.
until_state() {
    while state=$(ec2 describe-instances --instance-ids "$1" --output text \
            --query 'Reservations[0].Instances[0].State.Name') || fail "$1 cannot be looked at"
        [ "$state" != "$2" ]
    do
        case $state in terminated | shutting-down) fail "$1 is $state" ;; esac
        sleep 15
    done
}
fail() { echo "$0: $1" >&2; exit 1; }
