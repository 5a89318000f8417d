#!/usr/bin/env bash
# Installs what the tests here hold us to: Debian's packages of Go and x/mod, two Python packages in
# an environment of their own, one npm package. What can't be had is left out, and its tests skip.
set -uo pipefail
cd "$(dirname "$0")/../.."
folder=build/interop
mkdir -p "$folder"

if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    apt-get install -qq --no-install-recommends golang-golang-x-mod-dev golang-1.19-go openssl
fi
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tracekit-ai==1.4.2 sigstore==4.5.1
if command -v npm >/dev/null; then
    npm install --silent --no-save --prefix "$folder" canonicalize@5.1.0
fi
