#!/usr/bin/env bash
# Throws bytes at each decoder of what comes from outside, FUZZ_SECONDS (600) at each, as many at once as there are cores.
# FUZZ_TARGETS chooses among them. What breaks one lies in fuzz/artifacts: mend it, and keep the input in fuzz/inputs, where a
# test asks it again.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/machine.sh
source tools/machine.sh

SECONDS_EACH=${FUZZ_SECONDS:-600}
TARGETS=${FUZZ_TARGETS:-copy manifest envelope statement parameters}
OUTPUT=${CARGO_TARGET_DIR:-target}/fuzz

rustup run nightly rustc --version >/dev/null 2>&1 || die 'there is no nightly compiler' 'rustup toolchain install nightly --profile minimal'
cargo fuzz --version >/dev/null 2>&1 || die 'cargo-fuzz is not installed' 'cargo install --locked cargo-fuzz'

# The versions that the product is built of, and what the targets need besides.
cp Cargo.lock fuzz/Cargo.lock
# Arrow's unsafe code is not what is looked for, and mimalloc would hide its memory from a sanitizer.
build=(cargo +nightly fuzz build --release --sanitizer none --target-dir "$OUTPUT")
say 'building the targets'
"${build[@]}"

run() {
    local target=$1 folder=fuzz/corpus/$1
    mkdir -p "$folder"
    cargo +nightly fuzz run --release --sanitizer none --target-dir "$OUTPUT" "$target" "$folder" "fuzz/inputs/$target" -- \
        -max_total_time="$SECONDS_EACH" -timeout=10 -max_len=16384 -print_final_stats=1 >"fuzz/corpus/$target.log" 2>&1
}
export -f run
export OUTPUT SECONDS_EACH

status=0
# shellcheck disable=SC2086
printf '%s\n' $TARGETS | xargs -P "$(nproc)" -I{} bash -c 'run {}' || status=$?
for target in $TARGETS; do
    log=fuzz/corpus/$target.log
    say "$target: $(awk '/^stat::number_of_executed_units/ { print $2 }' "$log") inputs; $(grep -cE 'SUMMARY|panicked' "$log" || true) faults (see $log)"
done
exit "$status"
