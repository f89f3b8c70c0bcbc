# Shared by the scripts: where things are, and how a step is named and timed. Sourced, never run.
# Never: installs, or hides a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export CAIRN_CACHE="${CAIRN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cairn}"
export CAIRN_TOOLS="$CAIRN_CACHE/venv"
export CAIRN_S3_TOOLS="$CAIRN_CACHE/s3-venv"
# s3s declares a newer Rust than it needs (docs/adr/0004).
CARGO_FLAGS=(--release --locked --ignore-rust-version)

say() { printf '\n== %s\n' "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# step NAME COMMAND…: runs the command and prints how long it took.
step() {
  local name=$1 begun=$SECONDS
  shift
  say "$name"
  "$@"
  printf '== %s: %d s\n' "$name" $((SECONDS - begun))
}

target_dir() {
  if [ -n "${CARGO_TARGET_DIR:-}" ]; then
    printf '%s\n' "$CARGO_TARGET_DIR"
  else
    printf '%s/target\n' "$PWD"
  fi
}

# RocksDB is 340 files of C++, and cargo would compile them again for every selection of packages that changes a build dependency's features.
# So it is compiled once for its version and linked from the cache. A ROCKSDB_LIB_DIR of the caller's own is left as it is.
rocksdb_once() {
  [ -z "${ROCKSDB_LIB_DIR:-}" ] || return 0
  ROCKSDB_LIB_DIR=$(scripts/rocksdb)
  export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1
}

# Builds the pages of the dashboard, which the binary carries, unless they are newer than all that they are made of.
web_once() {
  local newer
  if [ -f web/dist/index.html ]; then
    newer=$(find web/src web/public web/index.html web/package.json web/package-lock.json web/vite.config.ts web/tsconfig.json \
      -newer web/dist/index.html -print -quit)
    [ -n "$newer" ] || return 0
  fi
  npm_packages web
  npm --prefix web run build
}

# npm_packages DIRECTORY: its packages, as its lock file has them.
npm_packages() {
  [ "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ] || npm --prefix "$1" ci --no-audit --no-fund
}

# Builds every binary. Always the whole workspace: another selection would build the dependencies again with other features. For the same reason
# the tests are built along when they come next (CAIRN_BUILD_TESTS=1): what only they need is a feature of the dependencies too.
build() {
  web_once
  rocksdb_once
  cargo build "${CARGO_FLAGS[@]}" --workspace --bins ${CAIRN_BUILD_TESTS:+--tests}
}
