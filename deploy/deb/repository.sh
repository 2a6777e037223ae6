#!/bin/sh
# Makes a signed apt repository of the packages in a folder, to be served by any web server or carried on a stick:
#
#   sh repository.sh FOLDER KEY
#
# KEY is what gpg knows the signing key by. Needs dpkg-dev and gpg; run it again when a package was added.
set -eu

[ $# -eq 2 ] || { echo "usage: sh repository.sh FOLDER KEY" >&2 && exit 2; }
key=$2
cd "$1"
dpkg-scanpackages --multiversion . >Packages
gzip -9nkf Packages
{
    echo "Origin: edge-runtime"
    echo "Date: $(LC_ALL=C date -Ru)"
    echo "SHA256:"
    for file in Packages Packages.gz; do
        echo " $(sha256sum <"$file" | cut -d' ' -f1) $(wc -c <"$file") $file"
    done
} >Release
gpg --batch --yes --local-user "$key" --clearsign --output InRelease Release
gpg --batch --yes --armor --output edge-runtime.asc --export "$key"
echo "the SHA-256 of edge-runtime.asc, for install.sh: $(sha256sum <edge-runtime.asc | cut -d' ' -f1)"
