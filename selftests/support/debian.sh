#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# debian.sh [DIR]: what the lwIP examples and their tests take from Debian's archive beside installed packages, by apt,
# with its signatures checked. It is unpacked below DIR, which is build/debian unless given:
#   lwip    the source package: liblwip-dev has a library with fixed options and without the applications, see
#           examples/lwip/CMakeLists.txt
#   nginx   the program alone: installing the package would start a web server on this machine
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
directory=$(realpath -m "${1:-build/debian}")
[[ ! -e $directory/lwip/src/core/tcp.c || ! -x $directory/nginx/usr/sbin/nginx ]] || exit 0
# shellcheck source=selftests/support/packages.sh
source selftests/support/packages.sh
install_packages "${unpack_packages[@]}"

# What root makes here is his whose folder it is in: he is to build there.
made=$directory
while [[ ! -e $(dirname "$made") ]]; do made=$(dirname "$made"); done
mkdir -p "$directory"
work=$(mktemp -d "$directory/work.XXXXXX")
trap 'rm -rf "$work"; ((EUID)) || chown -R --no-dereference --reference="$(dirname "$made")" "$made"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
# Lists of our own: those of the machine have no sources, and are not ours to change.
# shellcheck disable=SC1091
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
echo "deb-src http://deb.debian.org/debian $release main" >"$work/sources.list"
own_lists=(-q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$work/lists"
           -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)

if [[ ! -e $directory/lwip/src/core/tcp.c ]]; then
  apt-get "${own_lists[@]}" update >/dev/null
  (cd "$work" && apt-get "${own_lists[@]}" source --download-only lwip >/dev/null)
  # apt has checked it against the archive's signature; the uploader's key is not at hand.
  dpkg-source --no-check -q -x "$work"/lwip_*.dsc "$work/lwip"
  rm -rf "$directory/lwip"
  mv -T "$work/lwip" "$directory/lwip"
fi
if [[ ! -x $directory/nginx/usr/sbin/nginx ]]; then
  (cd "$work" && apt-get -q -o APT::Sandbox::User=root download nginx >/dev/null)
  dpkg-deb -x "$work"/nginx_*.deb "$work/nginx"
  rm -rf "$directory/nginx"
  mv -T "$work/nginx" "$directory/nginx"
fi
