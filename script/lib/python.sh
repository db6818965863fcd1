# Python environments with pinned packages, in .stack.
# shellcheck shell=bash

# find_python MAJOR MINOR: prints a Python that is at least so new and can make environments, or fails.
find_python() {
  local python
  for python in python3.13 python3.12 python3.11 python3; do
    if command -v "$python" >/dev/null &&
      "$python" -c "import sys, ensurepip; sys.exit(sys.version_info < ($1, $2))" 2>/dev/null; then
      printf '%s' "$python"
      return
    fi
  done
  return 1
}

# need_python_packages FOLDER REQUIREMENTS: FOLDER is an environment with just these packages afterwards, or this fails.
# Files that REQUIREMENTS names with -r must lie beside it.
need_python_packages() {
  local folder=$1 requirements=$2 python wanted
  wanted=$(cat "${requirements%/*}"/requirements*.txt)
  if [[ $wanted == "$(cat "$folder/pinned" 2>/dev/null)" ]]; then return; fi
  python=$(find_python 3 11) || { install_one_of python3-venv && python=$(find_python 3 11); } || {
    say "Python 3.11 or newer with its venv is missing (apt-get install python3-venv)"
    return 1
  }
  say "getting the Python packages of $requirements"
  rm -rf "$folder"
  "$python" -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" || {
    say "pip could not get what $requirements pins"
    say "Is a registry of Python packages in reach? pip config list shows which is asked."
    return 1
  }
  printf '%s\n' "$wanted" >"$folder/pinned"
}
