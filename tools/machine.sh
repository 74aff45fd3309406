# shellcheck shell=bash
# What the other scripts ask of this machine: messages, programs, ports, processes, PostgreSQL's folder of programs.
# Sourced, never run.

# The oldest PostgreSQL that Pilaster reads from.
readonly POSTGRES_MAJOR_MIN=14

say() { printf '%s\n' "$*"; }

# The first line is what is wrong, the others how to mend it.
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    local line
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [[ "$(id -u)" == 0 ]]; }

# Where cargo builds; shared by every checkout, so that dependencies are compiled once.
target_folder() { say "${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pilaster/target}"; }

# A secret of 32 bytes in hexadecimal.
new_secret() { od -An -tx1 -N32 /dev/urandom | tr -d ' \n'; }

# The folder of PostgreSQL's server programs, the newest that is new enough; fails where there is none.
postgres_programs() {
    local folder major found='' newest=0
    for folder in "$(dirname "$(command -v initdb || say /nowhere/initdb)")" /usr/lib/postgresql/*/bin; do
        [[ -x "$folder/initdb" && -x "$folder/postgres" && -x "$folder/psql" ]] || continue
        major=$("$folder/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
        if ((major >= POSTGRES_MAJOR_MIN && major > newest)); then
            found=$folder newest=$major
        fi
    done
    [[ -n "$found" ]] && say "$found"
}

# Whether nothing listens on this port of the loopback address.
is_free_port() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A free port: the wanted one if it is, else any below the range that the kernel hands out.
free_port() {
    local port=${1:-}
    if [[ -n "$port" ]] && is_free_port "$port"; then
        say "$port"
        return
    fi
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 12000))
        if is_free_port "$port"; then
            say "$port"
            return
        fi
    done
    die "no free port between 20000 and 32000"
}

# Which process this is, whatever becomes of its number: the number and when it was started.
process_identity() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The name, in parentheses, may hold spaces; the start is the 20th field behind it.
    stat=${stat##*) }
    # shellcheck disable=SC2086
    set -- "$1" $stat
    [[ "$2" != Z ]] || return 1
    say "$1 ${21}"
}

# Whether the process that a file names still runs; prints its number.
running_process() {
    local number started
    [[ -r "$1" ]] && read -r number started <"$1" || return 1
    [[ "$(process_identity "$number")" == "$number $started" ]] && say "$number"
}

# Asks the process that a file names to end, waits for it, and kills it when it has not ended in so many seconds.
stop_process() {
    local file=$1 seconds=$2 number tenths
    if number=$(running_process "$file"); then
        kill -TERM "$number" 2>/dev/null || true
        for ((tenths = 0; tenths < seconds * 10; tenths++)); do
            running_process "$file" >/dev/null || break
            sleep 0.1
        done
        if running_process "$file" >/dev/null; then
            kill -KILL "$number" 2>/dev/null || true
        fi
    fi
    rm -f "$file"
}
