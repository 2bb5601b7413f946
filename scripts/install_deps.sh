#!/usr/bin/env bash
# Installs what building and testing Hone needs on Debian 12 or Ubuntu 22.04/24.04, and the packages given as arguments.
# Idempotent: says nothing and touches nothing when every package is there.
# Runs as root, or through sudo.
set -euo pipefail

packages=(
  g++
  cmake
  ninja-build
  ccache
  pkg-config
  libprotobuf-dev
  protobuf-compiler
  libcli11-dev
  nlohmann-json3-dev
  libfmt-dev
  libxxhash-dev
  libzip-dev
  libstb-dev
  libgtest-dev
  libbenchmark-dev
  python3
  python3-venv
  python3-pip
  unzip
  "$@"
)

# Every installed package and every name that one provides, one a line.
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}, ${Provides}\n' |
  sed -n 's/^installed //p' | tr ',' '\n' | sed 's/^ *//; s/ .*//')

missing=()
for package in "${packages[@]}"; do
  grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || {
    echo "install_deps: run as root or install sudo (missing: ${missing[*]})" >&2
    exit 1
  }
  as_root=(sudo)
fi

echo "install_deps: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
