# A Java that runs the Elasticsearch at hand: 7.17 and 8.19 take 17 or 21 (neither starts on 25), 9.2 takes 25 or 21.
# shellcheck shell=bash

# shellcheck disable=SC2034 # used by what sources this
STACK_JAVA_HOME=''

# javas_for ELASTICSEARCH: the major versions that it runs on, best first.
javas_for() {
  case $1 in
    7.* | 8.*) echo 17 21 ;;
    *) echo 25 21 ;;
  esac
}

javas_or() {
  local versions
  versions=$(javas_for "$1")
  printf '%s' "${versions// / or }"
}

# find_java ELASTICSEARCH: sets STACK_JAVA_HOME, or fails.
find_java() {
  local wanted home homes
  mapfile -t homes < <(java_homes)
  for wanted in $(javas_for "$1"); do
    for home in "${homes[@]}"; do
      if as_server "$home/bin/java" -version 2>&1 | grep -q "version \"${wanted}[.\"]"; then
        STACK_JAVA_HOME=$home
        return
      fi
    done
  done
  return 1
}

# Where Javas are: what the environment names (also JAVA_HOME_21_X64 and the like), and where they are usually installed.
java_homes() {
  local name home
  for name in "${!ES_JAVA_HOME@}" "${!JAVA_HOME@}"; do
    if [[ -x ${!name}/bin/java ]]; then printf '%s\n' "${!name}"; fi
  done
  for home in /usr/lib/jvm/* /opt/*j[dr][ek]* /opt/java/* "$HOME"/.sdkman/candidates/java/* "$(java_on_path)"; do
    if [[ -x $home/bin/java ]]; then printf '%s\n' "$home"; fi
  done
}

java_on_path() {
  local java
  java=$(command -v java) || return 0
  dirname "$(dirname "$(readlink -f "$java")")"
}

# java_packages ELASTICSEARCH: what apt might have, best first.
java_packages() {
  local version
  for version in $(javas_for "$1"); do echo "openjdk-$version-jre-headless"; done
}

need_java() {
  local packages
  find_java "$1" && return
  mapfile -t packages < <(java_packages "$1")
  install_one_of "${packages[@]}" && find_java "$1" && return
  die "no Java $(javas_or "$1") was found, which Elasticsearch $1 runs on" \
    "Looked at ES_JAVA_HOME, JAVA_HOME*, /usr/lib/jvm, /opt, sdkman's and the java on the PATH, as the user $SERVER_USER." \
    "Install one (apt-get install ${packages[*]: -1}), or set ES_JAVA_HOME to the folder of one."
}

# Whether need_java can be expected to succeed. Installs nothing.
java_within_reach() {
  local package
  find_java "$1" && return
  is_root && has_apt || return 1
  for package in $(java_packages "$1"); do
    if apt_offers "$package"; then return 0; fi
  done
  return 1
}
