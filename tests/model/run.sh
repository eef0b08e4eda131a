#!/usr/bin/env bash
# Model-checks the quorum lease with spin: the rules as they are, and a counterexample for each rule removed.
#   run.sh [--quick] BUILD_DIR    --quick: the configurations that take seconds (make test); without: all (make model)
# Prints one figure line per result; exit 1 if a configuration is violated, or a removed rule is not missed.
set -u
quick=0
[ "${1:-}" = --quick ] && { quick=1; shift; }
build=${1:?usage: run.sh [--quick] BUILD_DIR}
model=$(cd "$(dirname "$0")" && pwd)/lease.pml
work=$(mktemp -d "${TMPDIR:-/tmp}/daarion-model.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
figures=$build/figures.jsonl
mkdir -p "$build"
bad=0

# check NAME FLAGS...: compiles and runs the verifier; sets $states and $errors
check() {
  local dir=$work/$1; shift
  mkdir -p "$dir"
  ( cd "$dir" && spin -a "$@" "$model" > spin.log 2>&1 &&
    cc -O2 -DSAFETY -DNOREDUCE -DCOLLAPSE -DVECTORSZ=512 -w -o pan pan.c && ./pan -m1000000 -w24 > pan.log 2>&1 )
  states=$(awk '/states, stored/ {print $1; exit}' "$dir/pan.log")
  errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$dir/pan.log" | head -1)
  cut=$(grep -c 'max search depth too small\|out of memory' "$dir/pan.log")
  rm -rf "$dir"
}

figure() {  # NAME VALUE UNIT STATUS
  echo "figure $1 $2 $3 n=1 min=$2 p50=$2 max=$2 limit=none $4"
  echo "{\"figure\":\"$1\",\"value\":$2,\"unit\":\"$3\",\"status\":\"$4\"}" >> "$figures"
}

verified() {  # NAME FLAGS...
  check "$@"
  if [ "${errors:-1}" = 0 ] && [ "$cut" = 0 ]; then figure "model_$1" "$states" states ok; else figure "model_$1" "${states:-0}" states MISSED; bad=1; fi
}

missed() {  # RULE FLAGS...: without the rule there must be a counterexample
  local rule=$1; shift
  check "$rule" "-DNO_$rule" "$@"
  local name; name=model_without_$(echo "$rule" | tr '[:upper:]' '[:lower:]')
  if [ "${errors:-0}" = 1 ]; then figure "$name" "$states" states_to_counterexample ok; else figure "$name" "${states:-0}" states MISSED; bad=1; fi
}

plain="-DE=2 -DL=2"
verified epochs2_length1 -DE=2 -DL=1
for rule in ACK FLOOR RECORD BLANK RETURNED SESSION SEND_TIME FOLD_CHECK INSTANCE; do missed $rule $plain; done
missed EARNED -DE=3 -DL=1
paused="-DE=2 -DL=1 -DPAUSES=2"
missed PAUSE_RECORD $paused -DREBOOTS=0
missed PAUSE_MAJORITY $paused -DREBOOTS=0
missed PAUSE_OWED $paused -DRESTARTS=0
missed RESUME_NAMED $paused -DREBOOTS=0 -DRESTARTS=0
if [ $quick = 0 ]; then
  verified epochs2_length2 $plain
  verified epochs2_length3 -DE=2 -DL=3
  verified epochs3_length1 -DE=3 -DL=1
  verified sessions2_restart -DE=2 -DS=2 -DL=1 -DREBOOTS=0
  verified sessions2_reboot -DE=2 -DS=2 -DL=1 -DRESTARTS=0
  verified pauses1_reboot -DE=2 -DL=1 -DPAUSES=1 -DRESTARTS=0
  verified pauses2_restart $paused -DREBOOTS=0
  verified pauses2_reboot $paused -DRESTARTS=0
fi
exit $bad
