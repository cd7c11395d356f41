# Sourced by the scripts beside it: where things are, which Deno runs, how steps are told.
# shellcheck shell=bash
set -euo pipefail

# The Deno that is installed where there is none; 2.7 is the oldest that will do.
DENO_PINNED=2.9.6

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
if [ -z "${HOME:-}" ]; then
  HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
  export HOME
fi
tools=${XDG_CACHE_HOME:-$HOME/.cache}/belljar/tools
# Deno 2.7 asks only its own list of authorities unless told, and a private registry may have its own.
export DENO_TLS_CA_STORE=${DENO_TLS_CA_STORE:-system,mozilla}
export DENO_NO_UPDATE_CHECK=1

die() {
  printf 'error: %s\n' "$1" >&2
  exit "${2:-1}"
}

# Prints the comment at the top of the script that was called, and ends it.
usage() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit
}

# Runs a step and says how long it took: step "what it does" command...
step() {
  local what=$1 start=${EPOCHREALTIME/[.,]/} status=0 spent
  shift
  printf '==> %s\n' "$what"
  "$@" || status=$?
  spent=$(((${EPOCHREALTIME/[.,]/} - start) / 100000))
  if [ "$status" -eq 0 ]; then
    printf '    done in %d.%d s: %s\n' $((spent / 10)) $((spent % 10)) "$what"
  else
    printf '    failed after %d.%d s: %s\n' $((spent / 10)) $((spent % 10)) "$what" >&2
  fi
  return "$status"
}

# Runs a command and shows what it printed only if it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 || status=$?
  [ "$status" -eq 0 ] || cat "$log" >&2
  rm -f "$log"
  return "$status"
}

# "2.9.6" of the Deno at this path; nothing where it does not run.
deno_version() {
  "$1" --version 2>/dev/null | sed -n '1s/^deno \([0-9.]*\).*/\1/p' || true
}

is_new_enough() {
  local major minor
  IFS=. read -r major minor _ <<<"$1"
  [ -n "$major" ] && { [ "$major" -gt 2 ] || { [ "$major" -eq 2 ] && [ "${minor:-0}" -ge 7 ]; }; }
}

# Where npm's copy of a Deno version lives. Its executable needs no install script and no node.
deno_home() {
  printf '%s/deno-%s' "$tools" "$1"
}

# Prints the path of the Deno to use, or nothing: BELLJAR_DENO, the one on PATH, the installed one.
find_deno() {
  local path
  if [ -n "${BELLJAR_DENO:-}" ]; then
    path=$(command -v "$BELLJAR_DENO" || true)
    [ -n "$path" ] && [ -n "$(deno_version "$path")" ] ||
      die "BELLJAR_DENO is \"$BELLJAR_DENO\": that cannot be run as Deno"
    printf '%s\n' "$path"
    return
  fi
  for path in "$(command -v deno || true)" "$(deno_home "$DENO_PINNED")/bin/deno"; do
    if [ -n "$path" ] && is_new_enough "$(deno_version "$path")"; then
      printf '%s\n' "$path"
      return
    fi
  done
}

# Puts a version of Deno from npm under the cache and prints its path.
install_deno() {
  local version=$1 home real
  home=$(deno_home "$version")
  if [ ! -x "$home/bin/deno" ]; then
    mkdir -p "$home/bin"
    # The executable is a package of its own; the install script of "deno" only links to it.
    npm install --prefix "$home" --ignore-scripts --no-fund --no-audit --no-save \
      --loglevel=error "deno@$version" >&2
    real=$(find "$home/node_modules/@deno" -maxdepth 2 -name deno -type f | head -n 1)
    [ -n "$real" ] || die "npm has no Deno $version for $(uname -m): install Deno from https://deno.com"
    chmod 755 "$real"
    ln -sf "$real" "$home/bin/deno"
  fi
  [ "$(deno_version "$home/bin/deno")" = "$version" ] ||
    die "$home/bin/deno cannot be run: remove $home and try again"
  printf '%s\n' "$home/bin/deno"
}

# Sets `deno`, puts it first on PATH and decides once from where dependencies come (`deps`).
use_deno() {
  deno=$(find_deno)
  [ -n "$deno" ] || die "there is no Deno 2.7 or newer here: run scripts/setup"
  PATH=$(dirname "$deno"):$PATH
  export PATH
  if [ -z "${BELLJAR_DEPS:-}" ]; then
    case $("$deno" run -A -q --no-config --no-lock scripts/deps.ts) in
      *--import-map=*) export BELLJAR_DEPS=npm ;;
      *) export BELLJAR_DEPS=jsr ;;
    esac
  fi
  read -r -a deps <<<"$("$deno" run -A -q --no-config --no-lock scripts/deps.ts)"
}

# The `belljar` command from source.
belljar() {
  "$deno" run -A -q "${deps[@]}" main.ts "$@"
}
