#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Builds, measures lwip_httpd beside kernel servers, and prints a table for the README on stdout; what it is doing
# meanwhile goes to stderr.
set -euo pipefail

usage() {
  cat <<'END'
usage: sudo ./selftests/bench/http.sh [option]...
  --quick             64 B and 64 KB, 1 and 64 connections, 1 second each, three rounds
  --rounds N          rounds, of which the median counts (5)
  --seconds N         of each measurement (2)
  --sizes N,...       of bodies: 64, 1024, 8192, 65536
  --connections N,... 1, 16, 64, 256
  --only NAME         this server alone: lwip, 'lwip, throughput', nginx, epoll, 'nginx, no offloads',
                      'epoll, no offloads'
  --lwip=OPTION       an option for lwip_httpd, such as --lwip=--throughput
  --json FILE         write every round there
  --readme            put the table into README.md too
  --build-dir DIR     a build of one's own, made already, instead of the release preset
END
}

arguments=() build_dir='' readme=0
while (($#)); do
  case $1 in
    --quick | --lwip=*) arguments+=("$1"); shift ;;
    --readme) readme=1; shift ;;
    --rounds | --seconds | --sizes | --connections | --only | --json | --build-dir)
      (($# > 1)) || { echo "$1 needs a value" >&2; usage >&2; exit 2; }
      case $1 in
        --build-dir) build_dir=$(realpath "$2") ;;
        --json) arguments+=("$1" "$(realpath "$2")") ;;
        *) arguments+=("$1" "$2") ;;
      esac
      shift 2
      ;;
    -h | --help) usage; exit 0 ;;
    *) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done
((EUID == 0)) || { echo "http.sh: it makes network namespaces: run it as root, sudo ./selftests/bench/http.sh" >&2; exit 1; }

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=../support/packages.sh
source selftests/support/packages.sh
{
  install_packages "${test_packages[@]}"
  selftests/support/debian.sh
  if [[ -z $build_dir ]]; then
    cmake --preset release
    cmake --build --preset release
    build_dir=$PWD/build
  fi
} >&2

# Whatever else runs here comes second.
table=$(nice -n -20 "$build_dir/selftests/bench/http_bench" --lwip-httpd "$build_dir/examples/lwip_httpd" \
  --http-epoll "$build_dir/selftests/bench/http_epoll" --nginx "$PWD/build/debian/nginx/usr/sbin/nginx" "${arguments[@]}")
echo "$table"
((readme)) || exit 0
TABLE=$table awk '
  /^<!-- http: end/ { inside = 0 }
  !inside { print }
  /^<!-- http: made/ { inside = 1; print ENVIRON["TABLE"] }' README.md >README.md.new
mv README.md.new README.md
