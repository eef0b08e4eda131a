#!/usr/bin/env bash
# Model-checks the quorum lease with spin: the rules as they are, and a counterexample for each rule removed.
#   run.sh [--quick] [--ledger FILE] BUILD_DIR
#     --quick: the configurations that take seconds (make test); without: all (make model)
#     --ledger: appends what was checked, and with which result, to FILE
# lease.pml: safety with a fixed voter set. voters.pml: with a changing one. liveness.pml: a lease can always be had again.
# Prints one figure line per result; exit 1 if a configuration is violated, or a removed rule is not missed.
set -u
quick=0
ledger=
[ "${1:-}" = --quick ] && { quick=1; shift; }
[ "${1:-}" = --ledger ] && { ledger=${2:?--ledger FILE}; shift 2; }
build=${1:?usage: run.sh [--quick] [--ledger FILE] BUILD_DIR}
models=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/daarion-model.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
figures=$build/figures.jsonl
mkdir -p "$build"
bad=0
configurations=0 held=0 all_states=0   # checked whole, those without a violation, and their states
removals=0 found=0                     # rules removed or assumptions dropped, and those whose counterexample was found

optimise=-O2   # what runs for a second is compiled without: compiling takes longer

# check NAME MODEL FLAGS...: compiles and runs the verifier; sets $states and $errors
check() {
  local dir=$work/$1 model=$models/$2.pml; shift 2
  mkdir -p "$dir"
  ( cd "$dir" && spin -a "$@" "$model" > spin.log 2>&1 &&
    cc $optimise -DSAFETY -DNOREDUCE -DCOLLAPSE -DVECTORSZ=512 -DMEMLIM=9000 -w -o pan pan.c && ./pan -m1000000 -w24 > pan.log 2>&1 )
  states=$(awk '/states, stored/ {print $1; exit}' "$dir/pan.log")
  errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$dir/pan.log" | head -1)
  cut=$(grep -c 'max search depth too small\|out of memory\|memory limit' "$dir/pan.log")
  rm -rf "$dir"
}

figure() {  # NAME VALUE UNIT STATUS
  echo "figure $1 $2 $3 n=1 min=$2 p50=$2 max=$2 limit=none $4"
  echo "{\"figure\":\"$1\",\"value\":$2,\"unit\":\"$3\",\"status\":\"$4\"}" >> "$figures"
}

verified() {  # NAME MODEL FLAGS...
  check "$@"
  configurations=$((configurations + 1)) all_states=$((all_states + ${states:-0}))
  if [ "${errors:-1}" = 0 ] && [ "$cut" = 0 ]; then held=$((held + 1)); figure "model_$1" "$states" states ok; else figure "model_$1" "${states:-0}" states MISSED; bad=1; fi
}

refuted() {  # NAME MODEL FLAGS...: there must be a counterexample
  optimise=-O0 check "$@"
  removals=$((removals + 1))
  if [ "${errors:-0}" = 1 ]; then found=$((found + 1)); figure "model_$1" "$states" states_to_counterexample ok; else figure "model_$1" "${states:-0}" states MISSED; bad=1; fi
}

missed() {  # MODEL RULE FLAGS...: without the rule there must be a counterexample
  local model=$1 rule=$2; shift 2
  refuted "without_$(echo "$rule" | tr '[:upper:]' '[:lower:]')" "$model" "-DNO_$rule" "$@"
}

# Bounds: 2 epochs (3 where named), 3 voters of a fixed set, or 2 voters and every path of 2 changes of the set; 1 restart and 1 reboot of
# a voter unless switched off; messages lost, late and doubled without bound; 2 pause events; 1 loss of the log's tail.
plain="-DE=2 -DL=2"
calm="-DREBOOTS=0 -DRESTARTS=0"
verified epochs2_length1 lease -DE=2 -DL=1
verified losses1_restart lease -DE=2 -DL=1 -DLOSSES=1 -DREBOOTS=0
# A crash of every voter, and one more: of the daemon, or of the host.
verified restarts3 lease -DE=2 -DL=1 -DRESTARTS=3 -DREBOOTS=0
for rule in ACK FLOOR SESSION SEND_TIME INSTANCE; do missed lease $rule $plain $calm; done
missed lease RECORD $plain -DREBOOTS=0
for rule in BLANK RETURNED FOLD_CHECK; do missed lease $rule $plain -DRESTARTS=0; done
missed lease EARNED -DE=3 -DL=1 $calm
refuted losses1_and_old_backup lease -DE=2 -DL=1 -DLOSSES=1 -DRESTARTS=0
paused="-DE=2 -DL=1 -DPAUSES=2"
missed lease PAUSE_RECORD -DE=2 -DL=1 -DPAUSES=1 -DREBOOTS=0
missed lease PAUSE_MAJORITY -DE=2 -DL=1 -DPAUSES=1 $calm
missed lease PAUSE_OWED $paused -DRESTARTS=0
missed lease RESUME_NAMED $paused $calm

sets="-DE=2 -DL=1"
verified sets2_losses1 voters $sets $calm -DLOSSES=1 -DCHANGES=1
for rule in NAMED ONE_VOTER SET_NAMED SET_LOG SET_KEPT; do missed voters $rule $sets -DREBOOTS=0; done
missed voters RECORDS $sets $calm -DLOSSES=1
missed voters NEXT $sets $calm -DLOSSES=1 -DFIRST=3
# What the implementation has to wait for: two changes that one power cut takes.
refuted sets2_lost_at_once voters $sets $calm -DLOSSES=2
missed voters UNPAUSED $sets $calm -DPAUSES=2
refuted unpaused_by_log voters $sets $calm -DPAUSES=2 -DUNPAUSED_BY_LOG
refuted unpaused_moment voters $sets $calm -DPAUSES=2 -DUNPAUSED_MOMENT

verified rescue_losses1_restart liveness $sets -DLOSSES=1 -DREBOOTS=0
missed liveness GIVE_UP $sets
missed liveness VOTE_EPOCH $sets -DLOSSES=2 -DREBOOTS=0

if [ $quick = 0 ]; then
  verified epochs2_length2 lease $plain
  verified epochs2_length3 lease -DE=2 -DL=3
  verified epochs3_length1 lease -DE=3 -DL=1
  verified restarts2_reboot lease -DE=2 -DL=1 -DRESTARTS=2
  verified reboots3 lease -DE=2 -DL=1 -DREBOOTS=3 -DRESTARTS=0 -DRESTORES=1
  verified sessions2_restart lease -DE=2 -DS=2 -DL=1 -DREBOOTS=0
  verified sessions2_reboot lease -DE=2 -DS=2 -DL=1 -DRESTARTS=0
  verified losses1_reboot lease -DE=2 -DL=1 -DLOSSES=1 -DRESTORES=0
  verified pauses1_reboot lease -DE=2 -DL=1 -DPAUSES=1 -DRESTARTS=0
  verified pauses2_restart lease $paused -DREBOOTS=0
  verified pauses2_reboot lease $paused -DRESTARTS=0
  missed lease PAUSE_KEPT -DE=3 -DL=1 -DPAUSES=1 $calm
  verified sets3_reboot voters $sets
  verified sets3_losses1 voters $sets $calm -DLOSSES=1
  verified sets3_pauses2 voters $sets $calm -DPAUSES=2 -DNO_RAISING
  verified rescue_reboot liveness $sets
  verified rescue_losses1_reboot liveness $sets -DLOSSES=1 -DRESTORES=0
fi
if [ -n "$ledger" ]; then
  [ -s "$ledger" ] || printf 'commit\tdate\ttier\tvolume\tfaults\tresult\n' >> "$ledger"
  printf '%s\t%s\tmodel\t%s\t%s\t%s\n' "$(git -C "$models" rev-parse --short=12 HEAD 2> /dev/null || echo unknown)" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    "$configurations configurations, $all_states states" "$removals" \
    "$held of $configurations hold, $found of $removals refuted without a rule" >> "$ledger"
fi
exit $bad
