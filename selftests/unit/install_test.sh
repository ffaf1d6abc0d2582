#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# install_test.sh BUILD: what BUILD installs is enough to build the front page's program, shared and static, with the
# CMake package and with pkg-config; also after the installation was moved. The front page's lines for a stack of one's
# own compile too, and the sources can be a part of an lwIP program. And what the programs can be told is on the front page
# and in the manual.
set -euo pipefail
export LC_ALL=C
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "install_test.sh: $*" >&2; exit 1; }
# Runs a program that must have come so far as to look for mstackd, and checks which library it is linked with.
expect_works() {
  local program=$1 kind=$2 said needed
  said=$(MSTACK_RUN_DIR=/nonexistent LD_LIBRARY_PATH=$libraries "$program") && fail "$program: needs no mstackd"
  [[ $said == *"/nonexistent"* ]] || fail "$program: $said"
  needed=$(readelf --dynamic "$program" | grep -c 'NEEDED.*\[libmstack\.so\.0\.[0-9]*\]') || true
  [[ $needed == "$([[ $kind == shared ]] && echo 1 || echo 0)" ]] || fail "$program is not $kind"
}

cmake --install "$1" --prefix "$work/first" >"$work/log" || { cat "$work/log"; fail "cmake --install"; }
prefix=$work/prefix
mv "$work/first" "$prefix"
libraries=$(dirname "$(find "$prefix" -name libmstack.so)")
for file in bin/mstack sbin/mstackd share/man/man1/mstack.1 share/man/man8/mstackd.8 lib/systemd/system/mstackd.service; do
  [[ -e $prefix/$file ]] || fail "$file is not installed"
done

# Every option that --help shows, of each command too.
options_of() { "$@" --help | grep -oE -- '--[a-z][a-z-]+' | sort -u || true; }
documented() {
  local option
  for option in $(options_of "$@"); do
    grep -qE -- "$option([^a-z-]|\$)" "$source/README.md" || fail "$option of ${*##*/} is not in README.md"
    [[ -z $manual ]] || grep -qE "Fl (Fl |-)${option#--}( |\$)" "$manual" || fail "$option of ${*##*/} is not in its manual"
  done
}
manual=$prefix/share/man/man8/mstackd.8 documented "$prefix/sbin/mstackd"
for command in '' status uplinks vports claims stats doctor attach detach; do
  # shellcheck disable=SC2086
  manual=$prefix/share/man/man1/mstack.1 documented "$prefix/bin/mstack" $command
done
for example in "$1"/examples/{udp_echo,pkt_gen,claim_denied,lwip_httpd,lwip_iperf,lwip_fetch}; do
  [[ ! -x $example ]] || manual='' documented "$example"
done

mkdir "$work/consumer"
cd "$work/consumer"
block() { sed -n "/^\`\`\`$1/,/^\`\`\`\$/{/^\`\`\`/!p}" "$source/README.md"; }
block cpp >server.cpp
{
  echo 'cmake_minimum_required(VERSION 3.16)
project(server LANGUAGES CXX)
add_executable(server server.cpp)'
  block cmake
  echo 'add_executable(server_static server.cpp)
target_link_libraries(server_static PRIVATE mstack::mstack_static)'
} >CMakeLists.txt
if ! { cmake -S . -B build -DCMAKE_PREFIX_PATH="$prefix" && cmake --build build; } >"$work/log" 2>&1; then
  cat "$work/log"
  fail "with the CMake package"
fi
expect_works build/server shared
expect_works build/server_static static

# Another minor version may have another ABI.
echo 'cmake_minimum_required(VERSION 3.16)
project(newer LANGUAGES CXX)
find_package(mstack 0.9 REQUIRED)' >CMakeLists.txt
! cmake -S . -B newer -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" 2>&1 || fail "0.9 was asked for, and taken to be there"

export PKG_CONFIG_PATH=$libraries/pkgconfig
# No option but what pkg-config says.
# shellcheck disable=SC2046
g++ server.cpp $(pkg-config --cflags --libs mstack) -o server
expect_works ./server shared
# shellcheck disable=SC2046
g++ -static server.cpp $(pkg-config --static --cflags --libs mstack) -o server_static
expect_works ./server_static static

# The lines for a stack of one's own, which stand in nobody's program, with what they leave to it.
{
  echo '#include <mstack/mstack.hpp>
#include <algorithm>
struct { std::chrono::milliseconds time_to_next_timer(); void run_timers(); void input(mstack::Frame); } my_stack;
bool running, is_ipv6;
void write_ethernet_header(mstack::Frame&, mstack::MacAddress to, mstack::MacAddress from, int type);
void serve() {'
  block c++ | sed '/^bool my_stack_output/,$d'
  echo '}
extern mstack::Queue& queue;'
  block c++ | sed -n '/^bool my_stack_output/,$p'
} >stack.cpp
for call in queue.receive queue.transmit; do grep -q "$call" stack.cpp || fail "README.md has no $call for a stack"; done
# shellcheck disable=SC2046
g++ -Wall -Wextra -Werror -fsyntax-only $(pkg-config --cflags mstack) stack.cpp

# The sources can be made a part of somebody's lwIP program; it is not built here, which takes as long as all of them.
if [[ -x $1/examples/lwip_fetch ]]; then
  echo "cmake_minimum_required(VERSION 3.25)
project(program LANGUAGES C CXX)
add_subdirectory($source multistack)
add_executable(program server.cpp)
target_link_libraries(program PRIVATE mstack_lwip)
get_target_property(type mstack_lwip TYPE)" >CMakeLists.txt
  cmake -S . -B program >"$work/log" 2>&1 || { cat "$work/log"; fail "as a part of an lwIP program"; }
fi

# An older language is named as what it is.
if g++ -std=c++20 -fsyntax-only -I"$prefix/include" server.cpp 2>"$work/log"; then fail "C++20 was enough"; fi
grep -m1 'error:' "$work/log" | grep -q 'needs C++23' || { cat "$work/log"; fail "C++20: the first error says nothing of it"; }
