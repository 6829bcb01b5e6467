# What scripts/conformance, scripts/crash and scripts/bench need on a machine; sourced by them.
# Installs by apt-get where that is possible, and else says what is missing.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$repository/conformance/.work
python=$work/venv/bin/python

say() { echo "${0##*/}: $*" >&2; }
die() { say "$*"; exit 1; }

# need COMMAND PACKAGE WHAT_FOR
need() {
  command -v "$1" >/dev/null && return
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    say "installing $2 ($3)"
    { apt-get install -y -qq "$2" || { apt-get update -qq && apt-get install -y -qq "$2"; }; } >&2 </dev/null || true
  fi
  command -v "$1" >/dev/null || die "$1 is needed ($3): install the package $2"
}

# Kafka's broker and tools: Java to run them, Maven to resolve them, which is done here and not in the middle of a measurement.
need_kafka() {
  need java default-jdk-headless "Apache Kafka's broker and tools"
  need javac default-jdk-headless "the Java checks"
  need mvn maven "Apache Kafka's jars"
  "$repository/conformance/peers/kafka/kafka" install >/dev/null
}

# A virtual environment with what requirements.txt pins; made again when that file changes.
need_python() {
  need python3 python3 "the harness"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed (the harness)"
  mkdir -p "$work"
  (
    flock 9 # two scripts side by side: one installs, the other waits
    cmp -s "$repository/conformance/requirements.txt" "$work/venv/requirements.txt" && exit
    rm -rf "$work/venv"
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
      command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || die "Python's venv is needed: install the package python3-venv"
      { apt-get install -y -qq python3-venv || { apt-get update -qq && apt-get install -y -qq python3-venv; }; } >&2 </dev/null
    fi
    python3 -m venv "$work/venv"
    "$python" -m pip install -q --disable-pip-version-check -r "$repository/conformance/requirements.txt" >&2 ||
      die "pip could not install what conformance/requirements.txt names"
    cp "$repository/conformance/requirements.txt" "$work/venv/requirements.txt"
  ) 9>"$work/venv.lock"
}

# newer WHAT WANTED FOUND HOW: a distribution's is often older, so these are not installed from there.
newer() {
  [ -n "$3" ] || die "$1 $2 or newer is needed: $4"
  printf '%s\n' "$2" "$3" | sort -CV || die "$1 $2 or newer is needed, this is $3: $4"
}

# Rust as new as Cargo.toml asks, and a linker.
need_rust() {
  newer Rust "$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$repository/Cargo.toml")" \
    "$(cargo --version 2>/dev/null | cut -d' ' -f2)" "install it with rustup (https://rustup.rs), or rustup update stable"
  need cc build-essential "linking"
}

# need_node WANTED: the machine's, or where that is older the one in npm's package, before all others on PATH.
need_node() {
  local npms=$work/node/node_modules/node/bin
  need node nodejs "the guide for Node"
  need npm npm "the guide for Node"
  printf '%s\n' "$1" "$(node --version | sed 's/^v//')" | sort -CV && return
  if [ ! -x "$npms/node" ]; then
    say "installing Node 24 beside $(node --version) (the guide for Node)"
    mkdir -p "$work/node"
    npm install --prefix "$work/node" --no-audit --no-fund --silent node@24.21.0 >&2 || die "npm could not install Node $1 or newer"
  fi
  export PATH=$npms:$PATH
}

# What the pages of docs/guides ask for.
need_guides() {
  local guides=$repository/docs/guides
  need java default-jdk-headless "the guide for Java"
  need javac default-jdk-headless "the guide for Java"
  need mvn maven "the guide for Java"
  need_rust
  need c++ build-essential "the librdkafka of the guide for Rust"
  need make build-essential "the librdkafka of the guide for Rust"
  newer Go "$(sed -n 's/^go //p' "$guides/go/go.mod")" "$(go env GOVERSION 2>/dev/null | sed 's/^go//')" "https://go.dev/dl"
  need_node "$(sed -n 's/.*"node": ">=\(.*\)".*/\1/p' "$guides/node/package.json")"
}

# built VARIABLE NAME: the release binary NAME from this tree, unless VARIABLE names one.
built() {
  [ -n "${!1:-}" ] && return
  need_rust
  (cd "$repository" && cargo build --release --locked --bin "$2") >&2 || die "$2 does not build"
}

need_millrace() { built MILLRACE_BIN millrace; }
need_loadgen() { built LOADGEN_BIN millrace-loadgen; }

export PYTHONDONTWRITEBYTECODE=1
