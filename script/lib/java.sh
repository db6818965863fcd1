# A Java that runs Elasticsearch: 17, else 21. (On Java 25 neither version starts.)
# shellcheck shell=bash

# shellcheck disable=SC2034 # used by what sources this
STACK_JAVA_HOME=''

find_java() {
  local wanted home
  for wanted in 17 21; do
    for home in "${ES_JAVA_HOME:-}" "${JAVA_HOME:-}" /usr/lib/jvm/* "$(java_on_path)"; do
      [[ -n $home && -x $home/bin/java ]] || continue
      if as_server "$home/bin/java" -version 2>&1 | grep -q "version \"${wanted}[.\"]"; then
        STACK_JAVA_HOME=$home
        return
      fi
    done
  done
  return 1
}

java_on_path() {
  local java
  java=$(command -v java) || return 0
  dirname "$(dirname "$(readlink -f "$java")")"
}

need_java() {
  find_java && return
  install_one_of openjdk-17-jre-headless openjdk-21-jre-headless && find_java && return
  die "no Java 17 or 21 was found (Elasticsearch runs on neither 11 nor 25)" \
    "Looked at ES_JAVA_HOME, JAVA_HOME, /usr/lib/jvm and the java on the PATH, as the user $SERVER_USER." \
    "Install one (apt-get install openjdk-17-jre-headless), or set ES_JAVA_HOME to the folder of one."
}
