#!/usr/bin/env bash
# Sends what schemathesis makes of /openapi.json to a server over the demo's data, with the key of each role, and fails on a 5xx that
# is not of an overloaded or a waiting server, and on an answer that the description does not have.
#
#   API_EXAMPLES  test cases for each operation and role at most, 60 by default
#   SCHEMATHESIS  the program; without it, it is installed from PyPI into a folder that is removed again
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/machine.sh
source tools/machine.sh

FOLDER=$(mktemp -d)
readonly FOLDER
unset DATABASE_URL "${!PG@}" "${!PILASTER__@}"
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost
export DEMO_FOLDER=$FOLDER/demo DEMO_SCALE=${DEMO_SCALE:-0.02}
BINARY=$(target_folder)/release/pilaster
readonly BINARY

leave() {
    local status=$?
    trap - EXIT
    stop_process "$FOLDER/pilaster.pid" 35
    tools/demo.sh clean >/dev/null 2>&1 || true
    rm -rf "$FOLDER"
    exit "$status"
}
trap leave EXIT

if [[ -z "${SCHEMATHESIS:-}" ]]; then
    have python3 || die 'python3 is missing' 'apt-get install python3 python3-venv'
    python3 -m venv "$FOLDER/venv"
    "$FOLDER/venv/bin/pip" install --quiet schemathesis==4.32.5
    SCHEMATHESIS=$FOLDER/venv/bin/schemathesis
fi

DEMO_DETACH=1 tools/demo.sh start >/dev/null
new_key() { "$BINARY" key new --file "$FOLDER/keys.json" --name "$@" | grep -oE 'plk_[A-Za-z0-9_-]+'; }
declare -A keys
for role in dashboard analyst admin; do
    scope=(--tenant 7)
    if [[ "$role" == admin ]]; then scope=(--all-tenants); fi
    key=$(new_key "$role" --role "$role" "${scope[@]}") || die "there is no key for the role $role"
    keys[$role]=$key
done
cp "$DEMO_FOLDER/pilaster.toml" "$FOLDER/pilaster.toml"
cat >>"$FOLDER/pilaster.toml" <<CONF

[access]
keys_file = "$FOLDER/keys.json"
requests_per_second = 0
failures_per_minute = 0
CONF
port=$(free_port)
PILASTER__POSTGRES__URL_FILE=$DEMO_FOLDER/postgres-url PILASTER__CACHE__REDIS_URL_FILE=$DEMO_FOLDER/redis-url \
    PILASTER__CACHE__HMAC_KEY_FILE=$DEMO_FOLDER/hmac-key "$BINARY" --config "$FOLDER/pilaster.toml" \
    serve --listen "127.0.0.1:$port" --queries queries </dev/null >"$FOLDER/pilaster.log" 2>&1 &
process_identity $! >"$FOLDER/pilaster.pid"
for _ in {1..600}; do
    if curl --silent --fail --max-time 2 --output /dev/null "http://127.0.0.1:$port/readyz"; then break; fi
    running_process "$FOLDER/pilaster.pid" >/dev/null || die 'the server has ended' "$(tail -n 5 "$FOLDER/pilaster.log")"
    sleep 0.1
done

cat >"$FOLDER/schemathesis.toml" <<CONF
# A full server may say 503, and a query that takes too long 504.
[checks.not_a_server_error]
enabled = true
expected-statuses = ["2xx", "4xx", "503", "504"]
CONF
failed=0
for role in dashboard analyst admin; do
    say "== as $role"
    "$SCHEMATHESIS" --config-file "$FOLDER/schemathesis.toml" run "http://127.0.0.1:$port/openapi.json" \
        --header "Authorization: Bearer ${keys[$role]}" --seed 1 --max-examples "${API_EXAMPLES:-60}" --request-timeout 40 --no-shrink \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance ||
        failed=1
done
running_process "$FOLDER/pilaster.pid" >/dev/null || die 'the server has ended' "$(tail -n 5 "$FOLDER/pilaster.log")"
if grep -q panicked "$FOLDER/pilaster.log"; then die 'something panicked' "$(grep -m 3 panicked "$FOLDER/pilaster.log")"; fi
exit "$failed"
