# The private Postgres of the stack. With --secure it takes encrypted connections only.
# shellcheck shell=bash

readonly PG_MAVEN_VERSIONS=(18.1.0 17.5.0 15.15.0) PG_OLDEST=15
readonly PG_USER=daybook PG_PASSWORD=daybook PG_DATABASE=daybook

PG_NAME=''
PG_BIN=''
PG_PASSWORD_HASH=()

# Which Postgres is meant: its name (and folder) and its programs. Fetches nothing.
choose_postgres() {
  local wanted=${STACK_PG:-default} installed major version
  installed=$(installed_postgres)
  read -r major PG_BIN <<<"${installed:-0}"
  case $wanted in
    default) wanted=${installed:+installed} ;;
    newest) wanted=$(newest_postgres "$major") ;;
    oldest) if ((major == PG_OLDEST)); then wanted=installed; else wanted=${PG_MAVEN_VERSIONS[-1]}; fi ;;
  esac
  if [[ $wanted == installed ]]; then
    [[ $installed ]] || die "STACK_PG=installed, but there is no PostgreSQL $PG_OLDEST or newer" \
      "Looked in /usr/lib/postgresql/*/bin and at pg_config. Install one, or use STACK_PG=maven."
    PG_NAME=postgres-installed-$major$FOR_TESTS$SECURE
    return
  fi
  version=$wanted
  if [[ ! $wanted || $wanted == maven ]]; then version=${PG_MAVEN_VERSIONS[0]}; fi
  [[ " ${PG_MAVEN_VERSIONS[*]} " == *" $version "* ]] ||
    die "STACK_PG is '$wanted'; it can be one of: installed maven ${PG_MAVEN_VERSIONS[*]} newest oldest"
  PG_BIN=$STACK_DIR/dist/postgres-maven-$version/bin
  PG_NAME=postgres-maven-$version$FOR_TESTS$SECURE
}

# The newest, or with STACK_PG=oldest the oldest, that is installed and new enough. Prints "MAJOR BINDIR".
installed_postgres() {
  local bin major order=-rn
  if [[ ${STACK_PG:-} == oldest ]]; then order=-n; fi
  for bin in /usr/lib/postgresql/*/bin "$(pg_config --bindir 2>/dev/null || true)"; do
    [[ -x $bin/initdb && -x $bin/postgres ]] || continue
    major=$(major_of "$bin")
    if ((major >= PG_OLDEST)); then printf '%s %s\n' "$major" "$bin"; fi
  done | sort "$order" | sed 1q
}

# major_of BINDIR
major_of() {
  local version
  version=$("$1/postgres" --version)
  version=${version##*) }
  printf '%s' "${version%%[!0-9]*}"
}

# newest_postgres INSTALLED-MAJOR: prints what STACK_PG would have to be.
newest_postgres() {
  if (($1 >= ${PG_MAVEN_VERSIONS[0]%%.*})); then
    echo installed
  elif (($1 > 0)) && ! maven_platform >/dev/null; then
    say "Postgres ${PG_MAVEN_VERSIONS[0]} is not on Maven for $(uname -m): taking the installed $1"
    echo installed
  else
    echo maven
  fi
}

maven_platform() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64v8 ;;
    *) return 1 ;;
  esac
}

need_postgres() {
  [[ $PG_NAME == postgres-maven-* && ! -x $PG_BIN/postgres ]] || return 0
  local platform dist=${PG_BIN%/bin} version
  local unpacked=$dist.part
  version=${dist##*-}
  platform=$(maven_platform) ||
    die "there are no Postgres binaries on Maven for $(uname -m)" "Install PostgreSQL $PG_OLDEST or newer."
  rm -rf "$unpacked"
  fetch "io.zonky.test.postgres:embedded-postgres-binaries-linux-$platform:$version:jar" "$unpacked"
  unzip -p "$unpacked"/*.jar '*.txz' | tar -xJ -C "$unpacked"
  rm "$unpacked"/*.jar
  mv "$unpacked" "$dist"
}

# The postmaster's. A pid from a file proves nothing, as the number may be somebody else's by now; but every
# process of a Postgres has the data folder as its working directory.
postgres_pids() {
  local data pid
  data=$(readlink -m "$STACK_DIR/$1/data")
  pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) || return 0
  if works_in "$pid" "$data"; then printf '%s' "$pid"; fi
}

works_in() { [[ $(readlink "/proc/$1/cwd") == "$2" ]]; }

postgres_runs() { [[ -n $(postgres_pids "$1") ]]; }

# The eighth line of the pid file is Postgres's own word on whether it takes connections.
postgres_ready() {
  postgres_runs "$1" && [[ $(sed -n '8s/ *$//p' "$STACK_DIR/$1/data/postmaster.pid" 2>/dev/null) == ready ]]
}

start_postgres() {
  local dir=$STACK_DIR/$PG_NAME
  if postgres_ready "$PG_NAME"; then
    reload_postgres
    say "$PG_NAME is up already on port $(<"$dir/port")"
    return
  fi
  make_server_dir "$PG_NAME"
  [[ -s $dir/data/PG_VERSION && ! -e $dir/unfinished ]] || init_postgres "$dir"
  if ! postgres_runs "$PG_NAME"; then launch_postgres "$dir"; fi
  await_postgres "$dir"
  say "$PG_NAME is up on port $(<"$dir/port")"
}

launch_postgres() {
  local dir=$1 port
  clear_after_crash "$dir"
  port=$(choose_port "$dir")
  write_postgres_settings "$dir" "$port"
  as_server "$PG_BIN/pg_ctl" start -s -w -t 120 -D "$dir/data" -l "$dir/log" \
    </dev/null >"$dir/pg_ctl.log" 2>&1 9>&- || postgres_failed "$dir"
}

# For one that an interrupted `up` left starting, or recovering.
await_postgres() {
  local dir=$1 deadline=$((SECONDS + 120))
  until postgres_ready "$PG_NAME"; do
    if ((SECONDS > deadline)) || ! postgres_runs "$PG_NAME"; then postgres_failed "$dir"; fi
    sleep 0.1
  done
}

postgres_failed() {
  show_log "$1/log"
  die "$PG_NAME did not come up (its log: $1/log)" \
    "Run this again; if its data are beyond repair: script/stack reset."
}

# Tests connect thousands of times, and each time the server would hash the password 4,096 times. Postgres 15 cannot hash
# less often, so it takes a cheaper hash; the secure one accepts no such.
choose_password_hash() {
  PG_PASSWORD_HASH=(--auth=scram-sha-256)
  if [[ ! $FOR_TESTS ]]; then return; fi
  if (($(major_of "$PG_BIN") > 15)); then
    PG_PASSWORD_HASH+=(--set=scram_iterations=1)
  elif [[ ! $SECURE ]]; then
    PG_PASSWORD_HASH=(--auth=md5)
  fi
}

init_postgres() {
  local dir=$1 data
  rm -rf "$dir/data"
  forget_memory "$PG_NAME"
  touch "$dir/unfinished"
  data=$(choose_data_folder "$PG_NAME")
  [[ $data == "$dir/data" ]] || ln -s "$data" "$dir/data"
  printf '%s\n' "$PG_PASSWORD" >"$dir/password"
  choose_password_hash
  if ! {
    as_server "$PG_BIN/initdb" -D "$dir/data" --username="$PG_USER" --pwfile="$dir/password" \
      --encoding=UTF8 --locale=C --no-instructions "${PG_PASSWORD_HASH[@]}" &&
      # The Postgres from Maven has neither psql nor createdb.
      as_server "$PG_BIN/postgres" --single -D "$dir/data" postgres <<<"CREATE DATABASE $PG_DATABASE"
  } >"$dir/initdb.log" 2>&1; then
    show_log "$dir/initdb.log"
    die "initdb failed for $PG_NAME"
  fi
  printf "\ninclude '%s'\n" "$dir/settings.conf" >>"$dir/data/postgresql.conf"
  rm "$dir/password" "$dir/unfinished"
}

# Of the plain pair a password is asked for, but not by scram: its 4,096 rounds would be most of what a test costs that is
# not optimised. The secure pair asks for scram, and a client certificate of daybook_certificate, if a test creates it.
write_postgres_settings() {
  local dir=$1 port=$2 address
  cat >"$dir/settings.conf" <<END
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
max_connections = 300
shared_buffers = 256MB
max_wal_size = $([[ $FOR_TESTS ]] && echo 1GB || echo 4GB)
fsync = ${STACK_FSYNC:-on}
full_page_writes = ${STACK_FSYNC:-on}
jit = ${STACK_FSYNC:-on}
END
  if [[ ! $SECURE ]]; then
    printf 'host all all 127.0.0.1/32 password\n' >"$dir/data/pg_hba.conf"
    return
  fi
  make_server_dir "$PG_NAME" tls
  hand_out_certificates "$dir/tls"
  cat >>"$dir/settings.conf" <<END
listen_addresses = '127.0.0.1,::1'
shared_buffers = 64MB
ssl = on
ssl_cert_file = '$dir/tls/server.pem'
ssl_key_file = '$dir/tls/server.key'
ssl_ca_file = '$dir/tls/ca.pem'
END
  for address in 127.0.0.1/32 ::1/128; do
    printf 'hostssl all daybook_certificate %s cert\n' "$address"
    printf 'hostssl all all %s scram-sha-256\n' "$address"
  done >"$dir/data/pg_hba.conf"
}

# What a running one can take over: fsync, and who is let in.
reload_postgres() {
  local dir=$STACK_DIR/$PG_NAME
  write_postgres_settings "$dir" "$(<"$dir/port")"
  kill -s HUP "$(postgres_pids "$PG_NAME")"
}

# After kill -9 of the postmaster its children take a moment to notice; and Postgres refuses to start when the
# number in its pid file has meanwhile gone to another process of the same user.
clear_after_crash() {
  local data tenths
  data=$(readlink -m "$1/data")
  for ((tenths = 0; tenths < 100; tenths++)); do
    if ! any_process_works_in "$data"; then
      rm -f "$data/postmaster.pid"
      return
    fi
    sleep 0.1
  done
  die "processes of a crashed $PG_NAME are still there" "End those that work in $data, then run this again."
}

any_process_works_in() {
  local process
  for process in /proc/[0-9]*; do
    if works_in "${process#/proc/}" "$1"; then return 0; fi
  done
  return 1
}

stop_postgres() { stop_server "$1" INT; }

postgres_url() {
  local host=127.0.0.1 parameters=''
  if [[ $SECURE ]]; then host=localhost parameters="?sslmode=verify-full&sslrootcert=$TLS_DIR/ca.pem"; fi
  printf 'postgres://%s:%s@%s:%s/%s%s' "$PG_USER" "$PG_PASSWORD" "$host" "$(<"$STACK_DIR/$PG_NAME/port")" \
    "$PG_DATABASE" "$parameters"
}
