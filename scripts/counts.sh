# Sourced by scripts/test and .ci/run: counts checks and tests, and ends with the line of counts.
# shellcheck shell=bash
passed=0 failed=0 skipped=0
troubles=()

# note "what" passed failed skipped
note() {
  passed=$((passed + $2))
  failed=$((failed + $3))
  skipped=$((skipped + $4))
  [ "$3" -eq 0 ] || troubles+=("$1: $3 failed")
}

# A step that passes or fails as a whole: check "what" command...
check() {
  if step "$@"; then note "$1" 1 0 0; else note "$1" 0 1 0; fi
}

# The sum of the numbers before some words in a line of counts.
number_of() {
  local found
  found=$(grep -oE "[0-9]+ ($1)\b" <<<"$2" | cut -d' ' -f1) || true
  echo $((${found//$'\n'/+} + 0))
}

logged() {
  local log=$1
  shift
  "$@" 2>&1 | tee "$log"
}

# A command that prints its own count: tests "what" command... What it prints last counts:
# Deno's "ok | 3 passed (2 steps) | 0 failed | 1 ignored (4ms)", belljar's "FAILED 3 passed, 1 failed, 1 file failed
# in 2 files, 40 ms" or the plain "3 passed, 0 failed, 1 skipped" of these scripts.
tests() {
  local what=$1 log status=0 line bad
  shift
  log=$(mktemp)
  step "$what" logged "$log" "$@" || status=$?
  line=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '^((ok|FAILED) \| |[A-Z]+ )?[0-9]+ passed\b' | tail -n 1) || true
  rm -f "$log"
  bad=$(number_of 'failed|files? failed' "$line")
  if [ -z "$line" ]; then
    echo "    no count of tests in the output of: $what" >&2
    bad=1
  elif [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
    bad=1 # it failed in what it does not count
  fi
  note "$what" "$(number_of 'passed|flaky' "$line")" "$bad" "$(number_of 'ignored|skipped' "$line")"
}

# Prints the last line and ends with the status that goes with it.
finish() {
  local line="$passed passed, $failed failed"
  if [ ${#troubles[@]} -gt 0 ]; then
    echo "Failed:"
    printf '  %s\n' "${troubles[@]}"
  fi
  [ "$skipped" -eq 0 ] || line="$line, $skipped skipped"
  echo "$line"
  exit $((failed > 0))
}
