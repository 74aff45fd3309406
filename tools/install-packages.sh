#!/usr/bin/env bash
# Installs by apt what is missing of the programs named as arguments: cargo, cc, curl, postgres, redis, nginx, node, python.
# Says what it is going to do; where it may not do it, says what to run, and fails. Does nothing where nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/machine.sh
source tools/machine.sh

# The package of PostgreSQL's server: 15, as Debian 12 has it, or the distribution's own.
postgres_package() {
    if apt-cache show postgresql-15 >/dev/null 2>&1; then say postgresql-15; else say postgresql; fi
}

missing=()
need() {
    local what=$1
    case "$what" in
        cargo)
            have cargo || die "cargo is missing" "install Rust first: https://rustup.rs"
            ;;
        cc) have cc || missing+=(build-essential) ;;
        curl) have curl || missing+=(curl) ;;
        postgres) postgres_programs >/dev/null || missing+=(postgres) ;;
        redis) have redis-server || missing+=(redis-server) ;;
        nginx) have nginx || [[ -x /usr/sbin/nginx ]] || missing+=(nginx-light) ;;
        node) have node || missing+=(nodejs) ;;
        python) have python3 || missing+=(python3) ;;
        *) die "$what is not a program that this script knows" ;;
    esac
}

# Prints, on one line each, the words in front of apt-get that make it root; fails where nobody may.
as_root() {
    if is_root; then
        return 0
    elif have sudo && [[ -t 0 ]]; then
        say sudo
    elif have sudo && sudo -n true 2>/dev/null; then
        say sudo
        say -n
    else
        return 1
    fi
}

for what in "$@"; do need "$what"; done
if ((${#missing[@]} == 0)); then exit 0; fi

have apt-get || die "missing: ${missing[*]}" \
    "there is no apt here; install them with this system's package manager" \
    "(postgres: the server's programs, version $POSTGRES_MAJOR_MIN or newer)"
if ! prefix_text=$(as_root); then
    die "missing: ${missing[*]}, and this user may not install packages" \
        "run as root: apt-get update && apt-get install -y --no-install-recommends ${missing[*]/#postgres/postgresql}"
fi
prefix=()
[[ -z "$prefix_text" ]] || mapfile -t prefix <<<"$prefix_text"

say "Installing what is missing: ${missing[*]}"
"${prefix[@]}" apt-get update -qq
for index in "${!missing[@]}"; do
    if [[ "${missing[index]}" == postgres ]]; then missing[index]=$(postgres_package); fi
done
"${prefix[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
say "Installed: ${missing[*]}"
