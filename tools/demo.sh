#!/usr/bin/env bash
# The demo: a private PostgreSQL with made-up data, a private Redis, a snapshot, and Pilaster serving it.
#
#   tools/demo.sh start    start everything and stay until Ctrl-C; with DEMO_DETACH=1 leave it running
#   tools/demo.sh stop     stop what runs; the data stays, so that the next start is fast
#   tools/demo.sh clean    stop, and remove the data
#
#   DEMO_SCALE   how much data, 1 by default: about 2.8 million events; 0.05 loads in seconds
#   DEMO_FOLDER  where the demo keeps its state, .demo by default
#   DEMO_PORT    where HTTP is served; 8080 where it is free, else another port
#
# Everything listens on 127.0.0.1 with passwords made for it. Nothing else on this machine is touched.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/machine.sh
source tools/machine.sh
# shellcheck source=tools/demo-requests.sh
source tools/demo-requests.sh

readonly SCALE=${DEMO_SCALE:-1}
readonly SHUTDOWN_SECONDS=35
FOLDER=$(realpath -m "${DEMO_FOLDER:-.demo}")
readonly FOLDER
BINARY=$(target_folder)/release/pilaster
readonly BINARY

main() {
    case "${1:-}" in
        start | stop | clean) ;;
        *) die "say start, stop or clean" ;;
    esac
    hush_environment
    case "$1" in
        start) start ;;
        stop)
            lock
            stop
            say "The demo is stopped; its data stays. Remove it with: make clean-demo"
            ;;
        clean)
            lock
            clean
            ;;
    esac
}

start() {
    [[ "$SCALE" =~ ^[0-9]*\.?[0-9]+$ ]] || die "DEMO_SCALE is ${SCALE@Q}, not a number" "try DEMO_SCALE=0.1"
    tools/install-packages.sh cargo cc curl postgres redis
    prepare_folder
    lock
    if running_process "$FOLDER/pilaster.pid" >/dev/null; then
        die "the demo runs already, at $(cat "$FOLDER/url")" "stop it with: make demo-stop"
    fi
    trap leave EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    stop # what a start that was killed may have left
    rm -f "$FOLDER/pilaster.log"
    build
    start_postgres
    load_data
    start_redis
    take_snapshot
    start_pilaster
    start_bench
    print_invitation
    if [[ -n "${DEMO_DETACH:-}" ]]; then
        trap - EXIT
        say "It runs in the background; stop it with: make demo-stop"
    else
        say "Stop it with Ctrl-C."
        trap 'exit 0' INT
        wait_for_pilaster
    fi
}

# The caller's own databases and settings are none of the demo's business.
hush_environment() {
    unset DATABASE_URL "${!PG@}" "${!PILASTER__@}"
    export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost
}

prepare_folder() {
    mkdir -p "$FOLDER"
    # Others may pass through it, as the user postgres does, but not look; every secret in it has a mode of its own.
    chmod 711 "$FOLDER"
    for secret in postgres-password reader-password redis-password hmac-key; do
        [[ -s "$FOLDER/$secret" ]] || new_secret | write_private "$FOLDER/$secret"
    done
}

write_private() { (umask 077 && cat >"$1"); }

# One command at a time. What is started in the background must not inherit the lock (9>&-).
lock() {
    mkdir -p "$FOLDER"
    exec 9>"$FOLDER/lock"
    if flock --nonblock 9; then return; fi
    if running_process "$FOLDER/pilaster.pid" >/dev/null; then
        die "the demo runs in another terminal, at $(cat "$FOLDER/url")" "press Ctrl-C there to stop it"
    fi
    die "another command is at work on the demo in $FOLDER" "wait for it, or press Ctrl-C there"
}

leave() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if ((status != 0 && status != 130 && status != 143)); then show_log; fi
    say "Stopping the demo …"
    stop
    exit "$status"
}

stop() {
    stop_process "$FOLDER/bench.pid" 2
    stop_process "$FOLDER/pilaster.pid" "$SHUTDOWN_SECONDS"
    stop_process "$FOLDER/redis.pid" 5
    stop_postgres
}

clean() {
    stop
    local home
    home=$(cat "$FOLDER/postgres-folder" 2>/dev/null || true)
    if [[ "$home" == */pilaster-demo.* ]]; then rm -rf "$home"; fi
    rm -rf "$FOLDER"
    say "The demo's data is removed."
}

build() {
    say "Building Pilaster …"
    CARGO_TARGET_DIR=$(target_folder) cargo build --release --locked --bin pilaster 9>&-
}

# PostgreSQL ------------------------------------------------------------------------------------------------------------

# PostgreSQL refuses to run as root; the user postgres comes with its package.
as_postgres() {
    if is_root; then
        (cd / && exec runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

# Where the server's data is: in the demo's folder, or elsewhere when its user cannot get there.
choose_postgres_folder() {
    local home
    home=$(cat "$FOLDER/postgres-folder" 2>/dev/null || true)
    if [[ -n "$home" && -d "$home" ]]; then return; fi
    if is_root && ! id postgres >/dev/null 2>&1; then
        die "PostgreSQL does not run as root, and there is no user postgres" "make one with: useradd --system postgres"
    fi
    home=$FOLDER/postgres
    mkdir -p "$home"
    if is_root; then
        chown postgres: "$home"
        if ! as_postgres test -w "$home" 2>/dev/null; then
            rmdir "$home"
            home=$(mktemp -d /var/tmp/pilaster-demo.XXXXXXXX)
            chown postgres: "$home"
        fi
    fi
    say "$home" >"$FOLDER/postgres-folder"
}

start_postgres() {
    choose_postgres_folder
    local home programs port
    home=$(cat "$FOLDER/postgres-folder")
    programs=$(postgres_programs)
    if [[ ! -f "$home/ready" ]]; then
        say "Making a database server in $home …"
        as_postgres rm -rf "$home/data"
        # initdb reads the password from a file, which its own user must be able to open.
        # shellcheck disable=SC2016
        as_postgres bash -c 'umask 077 && cat >"$1"' - "$home/password" <"$FOLDER/postgres-password"
        as_postgres "$programs/initdb" --pgdata="$home/data" --username=postgres --pwfile="$home/password" \
            --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync >/dev/null
        as_postgres rm "$home/password"
        as_postgres touch "$home/ready"
    fi
    port=$(free_port)
    # The data can be made again, so nothing waits for the disk.
    as_postgres "$programs/pg_ctl" start --silent --wait --pgdata="$home/data" --log="$home/log" --options="-p $port \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c synchronous_commit=off \
        -c full_page_writes=off -c max_wal_size=4GB" 9>&- ||
        die "PostgreSQL does not start" "its log is $home/log; make clean-demo starts afresh"
    {
        say "127.0.0.1:$port:*:postgres:$(cat "$FOLDER/postgres-password")"
        say "127.0.0.1:$port:*:pilaster:$(cat "$FOLDER/reader-password")"
    } | write_private "$FOLDER/pgpass"
    say "$port" >"$FOLDER/postgres-port"
    say "postgresql://pilaster:$(cat "$FOLDER/reader-password")@127.0.0.1:$port/demo" | write_private "$FOLDER/postgres-url"
}

stop_postgres() {
    local home programs
    home=$(cat "$FOLDER/postgres-folder" 2>/dev/null || true)
    [[ -n "$home" && -d "$home/data" ]] || return 0
    programs=$(postgres_programs) || return 0
    if as_postgres "$programs/pg_ctl" status --pgdata="$home/data" >/dev/null 2>&1; then
        as_postgres "$programs/pg_ctl" stop --silent --wait --mode=fast --pgdata="$home/data" ||
            as_postgres "$programs/pg_ctl" stop --silent --mode=immediate --pgdata="$home/data" || true
    fi
}

# Runs psql as the owner of the demo's data.
owner_psql() {
    local database=$1 programs
    shift
    programs=$(postgres_programs)
    PGPASSFILE=$FOLDER/pgpass "$programs/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host=127.0.0.1 \
        --port="$(cat "$FOLDER/postgres-port")" --username=postgres --dbname="$database" "$@"
}

# What the data is made of: its scale, and the scripts that make it.
data_identity() { say "scale $SCALE, scripts $(cat data/demo/schema.sql data/demo/generate.sql | cksum | tr ' ' -)"; }

# Loads under another name and renames, so that what is called demo is always whole.
load_data() {
    local identity loaded
    identity=$(data_identity)
    loaded=$(owner_psql postgres --no-align --tuples-only --command \
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'demo'")
    if [[ "$loaded" == "$identity" ]]; then
        say "The data is loaded already ($identity)."
        return
    fi
    say "Loading the demo's data at scale $SCALE …"
    SECONDS=0
    owner_psql postgres <<SQL
SET client_min_messages = warning;
DROP DATABASE IF EXISTS demo_loading;
CREATE DATABASE demo_loading TEMPLATE template0;
SQL
    owner_psql demo_loading --set=scale="$SCALE" --output=/dev/null --file=data/demo/schema.sql --file=data/demo/generate.sql
    owner_psql demo_loading --set=password="$(cat "$FOLDER/reader-password")" --set=identity="$identity" <<'SQL'
-- The role that Pilaster reads with: it may read, and nothing else.
SELECT 'CREATE ROLE pilaster LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pilaster') \gexec
ALTER ROLE pilaster PASSWORD :'password';
GRANT USAGE ON SCHEMA public TO pilaster;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO pilaster;
COMMENT ON DATABASE demo_loading IS :'identity';
SQL
    owner_psql postgres <<'SQL'
SET client_min_messages = warning;
DROP DATABASE IF EXISTS demo WITH (FORCE);
ALTER DATABASE demo_loading RENAME TO demo;
SQL
    say "Loaded in $SECONDS s."
}

# Redis -----------------------------------------------------------------------------------------------------------------

start_redis() {
    local port password
    password=$(cat "$FOLDER/redis-password")
    port=$(free_port)
    write_private "$FOLDER/redis.conf" <<CONF
bind 127.0.0.1
port $port
requirepass $password
save ""
appendonly no
maxmemory 256mb
maxmemory-policy allkeys-lru
dir "$FOLDER"
logfile "$FOLDER/redis.log"
CONF
    # In a session of its own, so that Ctrl-C is for this script, which stops things in order.
    setsid redis-server "$FOLDER/redis.conf" </dev/null >/dev/null 2>&1 9>&- &
    process_identity $! >"$FOLDER/redis.pid"
    say "redis://default:$password@127.0.0.1:$port/" | write_private "$FOLDER/redis-url"
    for _ in {1..100}; do
        if ! is_free_port "$port"; then return; fi
        running_process "$FOLDER/redis.pid" >/dev/null || break
        sleep 0.05
    done
    die "Redis does not start" "its log is $FOLDER/redis.log"
}

# Pilaster --------------------------------------------------------------------------------------------------------------

# Pilaster with the demo's settings. Secrets come from files and never stand on a command line.
readonly PILASTER=(env PILASTER__POSTGRES__URL_FILE="$FOLDER/postgres-url" PILASTER__CACHE__REDIS_URL_FILE="$FOLDER/redis-url"
    PILASTER__CACHE__HMAC_KEY_FILE="$FOLDER/hmac-key" "$BINARY" --config "$FOLDER/pilaster.toml")

take_snapshot() {
    cat >"$FOLDER/pilaster.toml" <<CONF
# Written by tools/demo.sh at each start. docs/operating.md has every key.
[store]
url = "$FOLDER/store"
versions_kept = 2
prune_grace = "15m"

[snapshot]
timeout = "10m"

# Both sides: the engine answers what is certified, and any query can be sent back to PostgreSQL.
[rollout]
enabled = true
default = "engine"
certify_timeout = "5m"

CONF
    cat data/demo/tables.toml >>"$FOLDER/pilaster.toml"
    say "Taking a snapshot, and asking every query of both sides as of its instant …"
    "${PILASTER[@]}" certify --queries queries
}

start_pilaster() {
    local port
    port=$(free_port "${DEMO_PORT:-8080}")
    if [[ -n "${DEMO_PORT:-}" && "$port" != "$DEMO_PORT" ]]; then die "port $DEMO_PORT is taken"; fi
    say "http://127.0.0.1:$port" >"$FOLDER/url"
    setsid "${PILASTER[@]}" serve --listen "127.0.0.1:$port" --queries queries \
        </dev/null >"$FOLDER/pilaster.log" 2>&1 9>&- &
    process_identity $! >"$FOLDER/pilaster.pid"
    for _ in {1..600}; do
        if curl --silent --fail --max-time 2 --output /dev/null "http://127.0.0.1:$port/readyz"; then return; fi
        running_process "$FOLDER/pilaster.pid" >/dev/null || die "Pilaster has ended"
        sleep 0.1
    done
    die "Pilaster is not ready after a minute"
}

# Measured while the demo can be used already: on one machine both sides take longer for it, and neither is favoured.
start_bench() {
    rm -f "$FOLDER/bench.html"
    setsid nice "${PILASTER[@]}" bench --queries queries --runs 3 --html "$FOLDER/bench.html" \
        </dev/null >"$FOLDER/bench.md" 2>"$FOLDER/bench.log" 9>&- &
    process_identity $! >"$FOLDER/bench.pid"
}

wait_for_pilaster() {
    local number
    number=$(running_process "$FOLDER/pilaster.pid") || die "Pilaster has ended"
    wait "$number" || die "Pilaster has ended, with status $?"
}

show_log() {
    [[ -s "$FOLDER/pilaster.log" ]] || return 0
    say "The end of $FOLDER/pilaster.log:" >&2
    tail -n 20 "$FOLDER/pilaster.log" >&2
}

print_invitation() {
    local url
    url=$(cat "$FOLDER/url")
    request() { printf '# %s\n%s\n\n' "$1" "$3"; }
    say ""
    say "Pilaster serves a snapshot of the demo's database."
    say ""
    say "  $url/docs/    every route and query, to read and to try; $url/ leads there"
    say "  file://$FOLDER/bench.html    every query on PostgreSQL and on the engine, with plots; it is being measured, and there in some minutes"
    say "  its log: $FOLDER/pilaster.log"
    say ""
    say "Try these in another terminal:"
    say ""
    demo_requests "$url"
}

main "$@"
