#!/usr/bin/env bash
# Runs the requests that the demo prints, against the demo that runs, and fails if one of them fails or says nothing of what
# it should. DEMO_FOLDER as for tools/demo.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/machine.sh
source tools/machine.sh
# shellcheck source=tools/demo-requests.sh
source tools/demo-requests.sh

FOLDER=${DEMO_FOLDER:-.demo}
failures=0

# The command as it was printed, except that curl fails when the server says that something went wrong, and does not wait
# for ever.
run() {
    (
        set -euo pipefail
        # shellcheck disable=SC2317
        curl() { command curl --fail-with-body --show-error --max-time 60 --noproxy '*' "$@"; }
        eval "$1"
    ) 2>&1
}

request() {
    local title=$1 pattern=$2 command=$3 output status=0
    output=$(run "$command") || status=$?
    # A dashboard's reply is a success even where one of its queries is not.
    if ((status == 0)) && grep -qiE -- "$pattern" <<<"$output" && ! grep -qE '"status": *[45][0-9]{2}' <<<"$output"; then
        say "ok      $title"
    else
        failures=$((failures + 1))
        say "FAILED  $title (status $status, looking for ${pattern@Q})"
        say "  $command"
        head -c 2000 <<<"$output" | sed 's/^/  | /'
    fi
}

running_process "$FOLDER/pilaster.pid" >/dev/null || die "the demo does not run" "start it with: DEMO_DETACH=1 make demo"
demo_requests "$(cat "$FOLDER/url")"
for _ in {1..600}; do
    if [[ -s "$FOLDER/bench.html" ]]; then break; fi
    sleep 0.5
done
if grep -q '<rect' "$FOLDER/bench.html" 2>/dev/null && grep -q '| equal |' "$FOLDER/bench.md"; then
    say "ok      The report of what both sides take"
else
    failures=$((failures + 1))
    say "FAILED  The report of what both sides take"
    tail -n 20 "$FOLDER/bench.log" "$FOLDER/bench.md" | sed 's/^/  | /'
fi
((failures == 0)) || die "$failures of the demo's requests failed"
