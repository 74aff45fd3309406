#!/usr/bin/env bash
# Makes the passwords and keys that compose.yaml needs, in the folder that is named; those that are there stay.
#
#   tools/compose-secrets.sh .secrets
set -euo pipefail
[[ $# == 1 ]] || { echo "say where: tools/compose-secrets.sh .secrets" >&2; exit 1; }
# shellcheck source=tools/machine.sh
source "$(dirname "$0")/machine.sh"
have openssl || die "openssl is missing" "install it: apt-get install openssl"

# The folder is closed to others; the files in it are readable, since containers read them as users of their own.
mkdir -p "$1"
chmod 700 "$1"
cd "$1"

keep() { [[ -s "$1" ]] || cat >"$1"; }

for name in postgres_password reader_password redis_password hmac_key gateway_password; do
    new_secret | keep "$name"
done
printf 'postgresql://pilaster:%s@postgres/demo?sslmode=disable' "$(cat reader_password)" | keep postgres_url
printf 'redis://default:%s@redis/' "$(cat redis_password)" | keep redis_url
printf 'admin:%s\n' "$(openssl passwd -6 -stdin <gateway_password)" | keep gateway_htpasswd
chmod 444 ./*
say "The secrets are in $PWD; start with: PILASTER_SECRETS=$PWD docker compose up --build"
