#!/usr/bin/env bash
# Installs a package into an overlay over this machine, runs a command, looks at the package, removes and purges it:
#   unshare --mount script/lib/try-package.sh FILE.deb [COMMAND...]
# The command finds the overlay in DAYBOOK_TEST_ROOT. Whatever this changes is gone when it ends. script/test runs it.
set -euo pipefail

readonly SERVICE=idb-interaction-telemetry-aggregator

main() {
  local package=$1 layers
  shift
  layers=$(mktemp -d)
  mount -t tmpfs none "$layers"
  mkdir "$layers"/{changes,work,root}
  mount -t overlay none -o "lowerdir=/,upperdir=$layers/changes,workdir=$layers/work" "$layers/root"
  mount -t proc none "$layers/root/proc"
  mount --rbind /dev "$layers/root/dev"
  cp "$package" "$layers/root/package.deb"
  in_overlay "$layers/root" install_package
  if (($# > 0)); then DAYBOOK_TEST_ROOT=$layers/root "$@"; fi
  in_overlay "$layers/root" look
}

# in_overlay ROOT FUNCTION
in_overlay() {
  chroot "$1" /bin/bash -euo pipefail -c "$(declare -f "$2" as expect); SERVICE=$SERVICE $2"
}

install_package() {
  # Nothing is left out, and no index of manual pages is made, which takes long.
  rm -f /etc/dpkg/dpkg.cfg.d/* /var/lib/man-db/auto-update
  expect "runuser -u daybook -- daybook doctor" dpkg --install /package.deb
}

look() {
  echo "== the user, and what it may read"
  expect "daybook:x:" getent passwd daybook
  expect "640 root daybook" stat -c "%a %U %G" /etc/daybook/daybook.toml
  expect "755 daybook daybook" stat -c "%a %U %G" /var/lib/daybook
  echo "== nothing is enabled"
  [[ ! -e /etc/systemd/system/timers.target.wants/$SERVICE.timer ]]
  echo "== the units"
  systemd-analyze verify --man=no --recursive-errors=one "$SERVICE.service" "$SERVICE.timer" daybook-failed@x.service
  systemd-analyze security --no-pager --offline=true --threshold=11 "$SERVICE.service" | tail -n 1
  echo "== the program, as the user"
  grep '^index_prefix' /etc/daybook/daybook.toml || echo 'index_prefix = "packaged"' >>/etc/daybook/daybook.toml
  expect "[file /etc/daybook/daybook.toml]" as daybook daybook config
  expect "Permission denied" bash -c "$(declare -f as); ! as nobody nogroup config 2>&1"
  expect "_daybook" bash -c 'source /usr/share/bash-completion/completions/daybook; complete -p daybook'
  expect "DAYBOOK_LEDGER_URL" zcat /usr/share/man/man1/daybook.1.gz
  expect "accept\\-decrease" zcat /usr/share/man/man1/daybook-apply.1.gz
  echo "== removed: settings stay; purged: nothing stays"
  dpkg --remove daybook
  [[ -e /etc/daybook/daybook.toml && ! -e /usr/bin/daybook ]]
  dpkg --purge daybook
  expect "" find /etc/daybook /var/lib/daybook /usr/share/doc/daybook /usr/lib/systemd/system/"$SERVICE".service.d
}

# as USER GROUP ARGUMENT...: the program.
as() { env -i PATH=/usr/bin setpriv --reuid="$1" --regid="$2" --clear-groups daybook "${@:3}"; }

# expect TEXT COMMAND...: what the command prints contains the text; an empty text, nothing is printed.
expect() {
  local text=$1 printed
  shift
  printed=$("$@" 2>/dev/null) || [[ -z $text ]] || {
    echo "this failed: $*" >&2
    return 1
  }
  if [[ -z $text ]]; then [[ -z $printed ]]; else [[ $printed == *"$text"* ]]; fi || {
    printf 'not as expected (%s): %s\n%s\n' "$text" "$*" "$printed" >&2
    return 1
  }
}

main "$@"
