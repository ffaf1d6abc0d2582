# SPDX-License-Identifier: BSD-2-Clause
# Debian's kernels, by version alone: which package, and its files. Nothing is installed.
# shellcheck shell=bash

# debian_apt DIR COMMAND...: apt over Debian's own archive, whatever this machine's sources are: those of 12 and 13, and
# their backports, which have newer kernels. All of its state is in DIR.
debian_apt() {
  local state=$1 keyring=/usr/share/keyrings/debian-archive-keyring.gpg release
  shift
  if [[ -z $(find "$state/sources.list" -mtime -1 2>/dev/null) && -e $keyring ]]; then
    mkdir -p "$state"/{lists,cache/archives}/partial
    for release in bookworm trixie; do
      echo "deb [signed-by=$keyring] http://deb.debian.org/debian $release main"
      echo "deb [signed-by=$keyring] http://deb.debian.org/debian-security $release-security main"
      echo "deb [signed-by=$keyring] http://deb.debian.org/debian $release-backports main"
    done >"$state/sources.list.new"
    # What was learnt a day ago is better than nothing.
    if apt_of "$state" "$state/sources.list.new" apt-get -q -o APT::Update::Error-Mode=any update >&2; then
      mv "$state/sources.list.new" "$state/sources.list"
    fi
  fi
  [[ -e $state/sources.list ]] || return 1
  apt_of "$state" "$state/sources.list" "$@"
}

apt_of() {
  local state=$1 sources=$2 program=$3
  shift 3
  "$program" -o "Dir::State::lists=$state/lists" -o "Dir::Cache=$state/cache" -o "Dir::Etc::sourcelist=$sources" \
    -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root "$@"
}

own_apt() {
  "$1" -o APT::Sandbox::User=root "${@:2}"
}

# kernel_packages VERSION FLAVOUR APT...: names of the packages that apt offers, the newest first.
kernel_packages() {
  local version=${1//./\\.} flavour=$2
  [[ $1 != newest ]] || version='[0-9]+\.[0-9]+'
  shift 2
  "$@" apt-cache search --names-only "^linux-image-${version}[.+~0-9a-z-]*-$flavour\$" |
    awk '{print $1}' | grep -E "^linux-image-${version}\.[+.~0-9a-z]+(-[0-9]+)?-$flavour\$" | sort -rV
}

# kernel_parts PACKAGE APT...: it, and those packages of the same build that it is only a name for, if it is a new one
kernel_parts() {
  local package=$1
  shift
  echo "$package"
  "$@" apt-cache depends "$package" | awk '$1 == "Depends:" {print $2}' | grep -F -- "-${package#linux-image-}" || true
}

# fetch_kernel VERSION FLAVOUR DIR: prints the directory with boot/ and lib/modules/ of the newest such kernel, below
# DIR; or one line on stderr that says why there is none. FLAVOUR is cloud-amd64 or amd64.
fetch_kernel() {
  mkdir -p "$3"
  # One at a time, so that several runs can share what they fetch.
  (
    flock 9
    unpack_kernel "$@"
  ) 9>"$3/lock"
}

unpack_kernel() {
  local version=$1 flavour=$2 directory=$3 archive source package part unpacked
  for archive in own debian; do
    source=(own_apt)
    if [[ $archive == debian ]]; then
      source=(debian_apt "$directory/apt")
    elif [[ $version == newest ]]; then
      continue
    fi
    for package in $(kernel_packages "$version" "$flavour" "${source[@]}" 2>/dev/null | head -n 3); do
      unpacked=$directory/$package
      if [[ ! -e $unpacked/complete ]]; then
        rm -rf "$unpacked" "$unpacked.deb"
        mkdir -p "$unpacked.deb"
        # shellcheck disable=SC2046
        (cd "$unpacked.deb" && "${source[@]}" apt-get -q download $(kernel_parts "$package" "${source[@]}") >&2) || continue
        for part in "$unpacked.deb"/*.deb; do dpkg-deb -x "$part" "$unpacked" || continue 2; done
        rm -rf "$unpacked.deb"
        # Newer ones have all of it below usr/lib/modules.
        [[ -e $unpacked/lib ]] || ln -s usr/lib "$unpacked/lib"
        [[ -e $unpacked/boot ]] ||
          { mkdir "$unpacked/boot" && ln "$unpacked"/lib/modules/*/vmlinuz "$unpacked/boot/vmlinuz-"; } || continue
        depmod -b "$unpacked" "$(ls "$unpacked/lib/modules")" || continue
        touch "$unpacked/complete"
      fi
      echo "$unpacked"
      return
    done
  done
  echo "apt offers no package linux-image-$version.*-$flavour here, or cannot fetch it" >&2
  return 1
}
