# What script/stack and script/test share: messages, and getting what is missing.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

die() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  shift
  local line
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

is_root() { ((EUID == 0)); }

has_apt() { command -v apt-get >/dev/null; }

apt_offers() { apt-cache policy "$1" 2>/dev/null | grep 'Candidate: [^(]' >/dev/null; }

# Installs the first of the named packages that this system offers. Says nothing and fails where that may not be.
install_one_of() {
  is_root && has_apt || return 1
  local package attempt
  for attempt in as-it-is updated; do
    [[ $attempt == as-it-is ]] || apt update || return 1
    for package in "$@"; do
      apt_offers "$package" || continue
      say "installing $package"
      apt install --no-install-recommends --no-upgrade "$package" && return
    done
  done
  return 1
}

# apt-get, heard only when it fails.
apt() {
  local output
  output=$(DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300 "$@" 2>&1) && return
  tail -n 15 <<<"$output" >&2
  return 1
}

# need_command COMMAND PACKAGE: COMMAND is there afterwards, or the run ends.
need_command() {
  command -v "$1" >/dev/null || install_one_of "$2" || true
  command -v "$1" >/dev/null && return
  die "the command $1 is missing" "Install it: apt-get install $2 (or what your system calls it), then run this again."
}
