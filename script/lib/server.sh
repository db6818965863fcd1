# What the two servers of the stack have in common: whose process it is, who runs it, on which port.
# A server has a folder of its own: $STACK_DIR/<name>/{data,log,port,...}.
# shellcheck shell=bash

STACK_DIR='' # set by choose_stack_dir
readonly LEAST_FREE_MEMORY_MIB=4096
SERVER_USER=$(id -un)

# Both servers refuse to run as root. `nobody` is in every base image, and needs no user to be created.
if is_root; then SERVER_USER=nobody; fi

# Runs a command as the servers' user, with nothing of the caller's environment but the path.
as_server() {
  local switch=()
  if is_root; then
    switch=(setpriv "--reuid=$SERVER_USER" "--regid=$(id -g "$SERVER_USER")" --clear-groups --)
  fi
  "${switch[@]}" env -i PATH="$PATH" HOME="$STACK_DIR" LC_ALL=C "$@"
}

# Everything lies in .stack of the checkout. Where the servers' user cannot get there (a checkout below a
# closed /root), .stack is a link to a folder elsewhere, named after the checkout.
choose_stack_dir() {
  local checkout=$1 link=$1/.stack elsewhere
  if [[ -d $link ]]; then
    STACK_DIR=$(readlink -f "$link")
  else
    STACK_DIR=$checkout
    if [[ -L $link ]]; then rm "$link"; fi
    as_server true || die "root cannot switch to the user $SERVER_USER here" \
      "Postgres and Elasticsearch refuse to run as root. Run this as an ordinary user."
    if as_server test -x "$checkout"; then
      STACK_DIR=$link
      mkdir -p "$STACK_DIR"
    else
      elsewhere=${TMPDIR:-/var/tmp}
      as_server test -x "$elsewhere" || elsewhere=/var/tmp
      STACK_DIR=$elsewhere/daybook-stack-$(printf '%s' "$checkout" | sha256sum | cut -c1-12)
      mkdir -p "$STACK_DIR"
      ln -sfn "$STACK_DIR" "$link"
    fi
  fi
  [[ -O $STACK_DIR ]] || die "$STACK_DIR belongs to $(stat -c %U "$STACK_DIR")" \
    "Run this as that user, or remove the folder (after script/stack down) to begin anew."
  as_server test -x "$STACK_DIR" || die "the user $SERVER_USER cannot enter $STACK_DIR" \
    "Open the folders above it (chmod o+x), or remove .stack to have another place chosen."
}

# make_server_dir NAME SUBFOLDER...: folders that the servers' user may write.
make_server_dir() {
  local dir=$STACK_DIR/$1 folder
  shift
  for folder in "" "$@"; do
    mkdir -p "$dir/$folder"
    if is_root; then chown "$SERVER_USER" "$dir/$folder"; fi
  done
}

# choose_data_folder NAME: prints where the server's data go. Those of a server for tests go to memory if there is room:
# there nothing waits for the disk, and making a database of 300 files costs little.
choose_data_folder() {
  local memory
  memory=$(memory_folder "$1")
  if [[ $FOR_TESTS ]] && memory_has_room; then
    mkdir -p "$memory"
    if is_root; then chown "$SERVER_USER" "$memory"; fi
    printf '%s' "$memory"
  else
    printf '%s' "$STACK_DIR/$1/data"
  fi
}

forget_memory() {
  local memory
  memory=$(memory_folder "$1")
  rm -rf "$memory"
}

memory_folder() { printf '/dev/shm/daybook-%s' "$(printf '%s' "$STACK_DIR/$1" | sha256sum | cut -c1-12)"; }

memory_has_room() {
  local room available
  room=$(df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
  available=$(awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo)
  ((${room:-0} >= LEAST_FREE_MEMORY_MIB && ${available:-0} >= LEAST_FREE_MEMORY_MIB))
}

# stop_server NAME SIGNAL: by the pids that postgres_pids or elasticsearch_pids finds to be this checkout's.
stop_server() {
  local name=$1 signal=$2 find_pids=${1%%-*}_pids pids tenths
  pids=$("$find_pids" "$name")
  for ((tenths = 0; tenths < 600; tenths++)); do
    [[ -n $pids ]] || break
    # shellcheck disable=SC2086 # several pids
    if ((tenths == 0)); then kill -s "$signal" $pids 2>/dev/null || true; fi
    sleep 0.1
    pids=$("$find_pids" "$name")
  done
  if [[ $pids ]]; then
    say "$name did not stop within a minute; killing it"
    # shellcheck disable=SC2086
    kill -s KILL $pids 2>/dev/null || true
  fi
  forget_memory "$name"
}

port_in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

port_holder() {
  local line=
  if command -v ss >/dev/null; then line=$(ss -Hltnp "sport = :$1" | grep -o 'users:.*' | head -n 1); fi
  printf '%s' "${line:-an unknown process}"
}

# The kept port, or a new one: first asked for at a number derived from the folder, so that two checkouts
# that start at the same moment do not ask for the same.
choose_port() {
  local dir=$1 port=
  if [[ -s $dir/port ]]; then
    port=$(<"$dir/port")
    if ! port_in_use "$port"; then
      printf '%s' "$port"
      return
    fi
    say "port $port of ${dir##*/} is taken by $(port_holder "$port"); choosing another"
  fi
  port=$((20000 + 16#$(printf '%s' "$dir" | sha256sum | cut -c1-6) % 10000))
  while port_in_use "$port"; do port=$((port + 1)); done
  printf '%s' "$port" | tee "$dir/port"
}

# fetch ARTIFACT FOLDER [SHA256]: the file of a Maven artifact, copied into FOLDER. Maven checks it against the repository's
# checksums, unless it is known which one the file must have: not every mirror has checksums of everything.
fetch() {
  local artifact=$1 folder=$2 log=$2.log checksum=${3:-} policy=--strict-checksums fetched
  if [[ $checksum ]]; then policy=--lax-checksums; fi
  mkdir -p "$folder"
  say "fetching $artifact"
  # One at a time: two Mavens do not share an empty local repository well.
  if ! JAVA_HOME=$STACK_JAVA_HOME flock "$STACK_DIR/maven.lock" mvn -q -B "$policy" dependency:get dependency:copy \
    -Dtransitive=false "-Dartifact=$artifact" "-DoutputDirectory=$folder" </dev/null >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    die "Maven could not fetch $artifact (above: the end of $log)" \
      "Check the network, or name a mirror or proxy in Maven's settings.xml, then run this again."
  fi
  [[ $checksum ]] || return 0
  fetched=$(sha256sum "$folder"/*)
  [[ ${fetched%% *} == "$checksum" ]] ||
    die "what Maven fetched is not $artifact: its SHA-256 is ${fetched%% *} instead of $checksum" \
      "Remove it from Maven's local repository, check the mirror in Maven's settings.xml, then run this again."
}

show_log() {
  say "--- the end of $1:"
  tail -n 40 "$1" >&2 || true
  say "---"
}
