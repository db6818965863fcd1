# The private Elasticsearch of the stack: security on (basic auth), one node. With --secure also TLS, and users of the
# file realm: native users and API keys need a module (analysis-common) that the distribution at hand lacks. With --nodes a
# cluster of several, without security: it is there to lose nodes.
# shellcheck shell=bash

readonly ES_PASSWORD=daybook-local ES_VERSIONS=(9.2.0 8.19.0 7.17.29) ES_DEFAULT=8.19.0
ES_NAME=''
ES_VERSION=''
ES_DIST=''
ES_HEAP=''
ES_JAVA_FLAGS=()

choose_elasticsearch() {
  ES_VERSION=${STACK_ES_VERSION:-$ES_DEFAULT}
  case $ES_VERSION in
    newest) ES_VERSION=$(newest_elasticsearch) ;;
    oldest) ES_VERSION=${ES_VERSIONS[-1]} ;;
  esac
  [[ " ${ES_VERSIONS[*]} " == *" $ES_VERSION "* ]] ||
    die "STACK_ES_VERSION is '$ES_VERSION'; it can be one of: ${ES_VERSIONS[*]} newest oldest"
  ES_NAME=elasticsearch-$ES_VERSION$FOR_TESTS$SECURE
  ES_DIST=$STACK_DIR/dist/elasticsearch-$ES_VERSION
  ES_HEAP=${STACK_ES_HEAP:-1g}
  if [[ $SECURE$NODES ]]; then ES_HEAP=${STACK_ES_HEAP:-512m}; fi
  ES_JAVA_FLAGS=("-Xms$ES_HEAP" "-Xmx$ES_HEAP")
  # For the few minutes that tests last, compiling well costs more than it gains.
  if [[ $FOR_TESTS ]]; then ES_JAVA_FLAGS+=(-XX:TieredStopAtLevel=1); fi
}

# choose_node NUMBER: makes this node of the cluster the Elasticsearch that is meant.
choose_node() { ES_NAME=elasticsearch-$ES_VERSION$FOR_TESTS-node-$1; }

# The node's ports, for clients and for the other nodes.
choose_node_ports() {
  if elasticsearch_runs "$ES_NAME"; then return; fi
  make_server_dir "$ES_NAME" transport
  choose_port "$STACK_DIR/$ES_NAME" >/dev/null
  choose_port "$STACK_DIR/$ES_NAME/transport" >/dev/null
}

newest_elasticsearch() {
  local version
  for version in "${ES_VERSIONS[@]}"; do
    if java_within_reach "$version"; then break; fi
    version=$ES_DEFAULT
  done
  [[ $version == "${ES_VERSIONS[0]}" ]] ||
    say "there is no Java for Elasticsearch ${ES_VERSIONS[0]} here (it wants $(javas_or "${ES_VERSIONS[0]}")): taking $version"
  printf '%s' "$version"
}

elasticsearch_sha256() {
  case $ES_VERSION in
    9.2.0) echo bf44938a0490ba2a303d39c9cb64b38963dd08c812ce93e10816e878585bcb6b ;;
    8.19.0) echo 14833b2d86c30656901f92049f81fb5777a8e4545413c8656cd1a21b55173033 ;;
    7.17.29) echo 841ee00be1a72ba8e707b5a2fb55f23fe7a4184369b4585393238b1c903eedaf ;;
  esac
}

need_elasticsearch() {
  [[ ! -x $ES_DIST/bin/elasticsearch ]] || return 0
  local unpacked=$ES_DIST.part
  rm -rf "$unpacked"
  fetch "org.elasticsearch.distribution.integ-test-zip:elasticsearch:$ES_VERSION:zip" "$unpacked" "$(elasticsearch_sha256)"
  unzip -q "$unpacked"/*.zip -d "$unpacked"
  chmod -R a+rX "$unpacked/${ES_DIST##*/}"
  mv "$unpacked/${ES_DIST##*/}" "$ES_DIST"
  rm -r "$unpacked"
}

# The server's, and its launcher's while there is one: each has one of these as an argument of its own.
elasticsearch_pids() {
  local dir=$STACK_DIR/$1 pid
  while IFS=/ read -r _ _ pid _; do printf '%s ' "$pid"; done < <(
    grep -slzxF -f <(printf '%s\n' "-Epath.logs=$dir/logs" "-Djava.io.tmpdir=$dir/tmp") /proc/[0-9]*/cmdline
  )
}

elasticsearch_runs() { [[ -n $(elasticsearch_pids "$1") ]]; }

elasticsearch_ready() { elasticsearch_runs "$1" && [[ $(elasticsearch_health "$1") == 200 ]]; }

# The HTTP status of the cluster's health. Without curl, which a fresh system lacks.
elasticsearch_health() {
  local connection port _ status request
  port=$(<"$STACK_DIR/$1/port")
  request="GET /_cluster/health?$(condition_of_health "$1")&timeout=5s&master_timeout=5s HTTP/1.0"$'\r\n'
  request+="Authorization: Basic $(printf 'elastic:%s' "$ES_PASSWORD" | base64)"$'\r\n\r\n'
  if [[ $1 == *-secure ]]; then
    read -r _ status _ < <(printf '%s' "$request" | tls_request "$port") || return 0
    printf '%s' "$status"
    return
  fi
  { exec {connection}<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || return 0
  printf '%s' "$request" >&"$connection"
  if read -r -t 10 -u "$connection" _ status _; then printf '%s' "$status"; fi
  exec {connection}>&-
}

# A cluster may have lost shards for good; its nodes are up when they have found each other.
condition_of_health() {
  case $1 in
    *-node-*) echo "wait_for_nodes=ge(2)" ;;
    *) echo wait_for_status=yellow ;;
  esac
}

start_elasticsearch() {
  local dir=$STACK_DIR/$ES_NAME
  if elasticsearch_ready "$ES_NAME"; then
    say "$ES_NAME is up already on port $(<"$dir/port")"
    return
  fi
  # One that runs without a kept port had its folder deleted below it.
  [[ -s $dir/port ]] || stop_elasticsearch "$ES_NAME"
  if ! elasticsearch_runs "$ES_NAME"; then launch_elasticsearch "$dir"; fi
  await_elasticsearch "$dir"
  say "$ES_NAME is up on port $(<"$dir/port")"
}

launch_elasticsearch() {
  local dir=$1 port data
  make_server_dir "$ES_NAME" config data logs tmp
  data=$(choose_data_folder "$ES_NAME")
  port=$(choose_port "$dir")
  write_elasticsearch_settings "$dir" "$port" "$data"
  if [[ $SECURE ]]; then secure_elasticsearch "$dir"; fi
  [[ $NODES || -e $dir/config/elasticsearch.keystore ]] || set_elasticsearch_password "$dir"
  with_elasticsearch_environment "$dir" ES_JAVA_OPTS="${ES_JAVA_FLAGS[*]}" \
    setsid --wait "$ES_DIST/bin/elasticsearch" -d "-Epath.logs=$dir/logs" \
    </dev/null >"$dir/log" 2>&1 9>&- || elasticsearch_failed "$dir"
}

with_elasticsearch_environment() {
  local dir=$1
  shift
  as_server ES_JAVA_HOME="$STACK_JAVA_HOME" ES_PATH_CONF="$dir/config" ES_TMPDIR="$dir/tmp" "$@"
}

write_elasticsearch_settings() {
  local dir=$1 port=$2 data=$3 dist=$ES_DIST/config
  install -m 644 "$dist"/{log4j2.properties,role_mapping.yml,roles.yml,users,users_roles} "$dir/config/"
  # The paths in there are relative to the distribution, which the servers' user cannot write.
  sed -e '/Xlog:gc/d' -e "s|=data\$|=$dir/data|" -e "s|=logs/|=$dir/logs/|" "$dist/jvm.options" \
    >"$dir/config/jvm.options"
  cat >"$dir/config/elasticsearch.yml" <<END
cluster.name: daybook-stack
path.data: "$data"
network.host: 127.0.0.1
http.port: $port
xpack.security.transport.ssl.enabled: false
xpack.ml.enabled: false
action.destructive_requires_name: false
cluster.max_shards_per_node: 20000
cluster.routing.allocation.disk.threshold_enabled: false
END
  write_cluster_settings "$dir" >>"$dir/config/elasticsearch.yml"
}

write_cluster_settings() {
  local dir=$1 node ports=()
  if [[ ! $NODES ]]; then
    printf '%s\n' "node.name: daybook" "transport.port: 0" "discovery.type: single-node" "xpack.security.enabled: true"
    return
  fi
  for node in $NODES; do ports+=("127.0.0.1:$(<"${dir%-*}-$node/transport/port")"); done
  cat <<END
node.name: node-${dir##*-}
transport.port: $(<"$dir/transport/port")
discovery.seed_hosts: [$(join_with_commas "${ports[@]}")]
cluster.initial_master_nodes: [node-${NODES// /, node-}]
xpack.security.enabled: false
END
}

join_with_commas() {
  local IFS=,
  printf '%s' "$*"
}

# Certificates and keys must lie below config. A user's line is name:hash, a role's is role:name,name,...
secure_elasticsearch() {
  local config=$1/config hash role
  hash='{SHA}'$(printf '%s' "$ES_PASSWORD" | openssl dgst -sha1 -binary | base64)
  hand_out_certificates "$config"
  cat >>"$config/elasticsearch.yml" <<END
xpack.security.http.ssl.enabled: true
xpack.security.http.ssl.certificate: "$config/server.pem"
xpack.security.http.ssl.key: "$config/server.key"
xpack.security.http.ssl.certificate_authorities: "$config/ca.pem"
xpack.security.http.ssl.client_authentication: optional
END
  # For the names that tests give to their indices.
  # shellcheck disable=SC2154 # checkout is set by script/stack
  sed -e 's/"stats"/"t????????????"/g' -e 's/"stats-\*"/"t????????????-*"/g' \
    "$checkout/example-objects/elasticsearch-roles.yml" >"$config/roles.yml"
  printf 'daybook_nobody:%s\n' "$hash" >"$config/users"
  : >"$config/users_roles"
  sed -n 's/^\(daybook_[a-z_]*\):.*/\1/p' "$config/roles.yml" | while read -r role; do
    printf '%s:%s\n' "$role" "$hash" >>"$config/users"
    printf '%s:%s\n' "$role" "$role" >>"$config/users_roles"
  done
}

set_elasticsearch_password() {
  local dir=$1 keystore=$ES_DIST/bin/elasticsearch-keystore
  # Each call costs seconds, and this one creates the keystore as well.
  if ! with_elasticsearch_environment "$dir" "$keystore" add -x -f bootstrap.password <<<"$ES_PASSWORD" \
    >"$dir/keystore.log" 2>&1; then
    show_log "$dir/keystore.log"
    rm -f "$dir/config/elasticsearch.keystore"
    die "the password of $ES_NAME could not be set"
  fi
}

await_elasticsearch() {
  local dir=$1 deadline=$((SECONDS + 180))
  until elasticsearch_ready "$ES_NAME"; do
    if ((SECONDS > deadline)) || ! elasticsearch_runs "$ES_NAME"; then elasticsearch_failed "$dir"; fi
    sleep 0.2
  done
}

elasticsearch_failed() {
  show_log "$1/log"
  die "$ES_NAME did not come up (its logs: $1/log and $1/logs)" \
    "It needs $ES_HEAP of heap (STACK_ES_HEAP) and as much again." \
    "Run this again; if its data are beyond repair: script/stack reset."
}

stop_elasticsearch() { stop_server "$1" TERM; }

elasticsearch_url() {
  if [[ $NODES ]]; then
    printf 'http://127.0.0.1:%s' "$(<"$STACK_DIR/$ES_NAME/port")"
    return
  fi
  local server=http://elastic:$ES_PASSWORD@127.0.0.1
  if [[ $SECURE ]]; then server=https://elastic:$ES_PASSWORD@localhost; fi
  printf '%s:%s' "$server" "$(<"$STACK_DIR/$ES_NAME/port")"
}
