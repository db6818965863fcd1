# The certificates of the secure pair of servers, and those that tests need, made once, without network, in $TLS_DIR.
# All keys are P-256 in PKCS#8; all files are PEM.
#
#   ca.pem                    the authority that signs all but the last two below
#   server.pem, .key          what both servers show: localhost, 127.0.0.1, ::1
#   client.pem, client.key    a client's: its common name is daybook_certificate
#   wrong-host.pem, .key      a server's whose name is elsewhere.example
#   expired.pem, .key         a server's for localhost that was valid in the year 2020
#   other-ca.pem              an authority that has nothing to do with the first
#   other-server.pem, .key    a server's for localhost, signed by that one
# shellcheck shell=bash

TLS_DIR='' # set by script/stack

need_certificates() {
  [[ ! -e $TLS_DIR/ca.pem ]] || return 0
  need_command openssl openssl
  local part=$TLS_DIR.part here=DNS:localhost,IP:127.0.0.1,IP:::1
  rm -rf "$part"
  mkdir -p "$part"
  (
    cd "$part"
    make_authority ca "daybook stack"
    make_authority other-ca "somebody else"
    make_certificate ca server localhost "$here"
    make_certificate ca client daybook_certificate
    make_certificate ca wrong-host elsewhere.example DNS:elsewhere.example
    make_certificate ca expired localhost "$here" 20200101000000Z 20210101000000Z
    make_certificate other-ca other-server localhost "$here"
    rm -rf ./*.csr ./*.cnf ./*.issued*
  ) >"$part.log" 2>&1 || {
    show_log "$part.log"
    die "openssl could not make the certificates"
  }
  mv "$part" "$TLS_DIR"
}

make_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }

# make_authority NAME COMMON-NAME
make_authority() {
  make_key "$1"
  openssl req -x509 -config <(printf '[req]\ndistinguished_name = name\n[name]\n') -new -key "$1.key" -out "$1.pem" \
    -subj "/CN=$2" -days 3650 \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    -addext subjectKeyIdentifier=hash
}

# make_certificate AUTHORITY NAME COMMON-NAME [ALTERNATIVE-NAMES [START END]]
make_certificate() {
  local authority=$1 name=$2 common=$3 alternative=${4:-} start=${5:-20200101000000Z} end=${6:-}
  end=${end:-$(($(date -u +%Y) + 10))0101000000Z}
  make_key "$name"
  mkdir "$name.issued"
  : >"$name.issued/index"
  cat >"$name.cnf" <<END
[req]
distinguished_name = name
[name]
[ca]
default_ca = issue
[issue]
database = $name.issued/index
new_certs_dir = $name.issued
rand_serial = yes
default_md = sha256
policy = policy
x509_extensions = extensions
[policy]
commonName = supplied
[extensions]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
${alternative:+subjectAltName = $alternative}
END
  openssl req -config "$name.cnf" -new -key "$name.key" -subj "/CN=$common" -out "$name.csr"
  openssl ca -batch -notext -config "$name.cnf" -cert "$authority.pem" -keyfile "$authority.key" \
    -startdate "$start" -enddate "$end" -in "$name.csr" -out "$name.pem"
}

# A server reads its own copies: its key must be its user's, and for nobody else to read.
hand_out_certificates() {
  local folder=$1
  install -m 644 "$TLS_DIR"/{ca,server}.pem "$folder/"
  install -m 600 "$TLS_DIR/server.key" "$folder/"
  if is_root; then chown "$SERVER_USER" "$folder/server.key"; fi
}

# Sends its input to the port and prints the answer, if the server there shows the right certificate.
tls_request() {
  timeout 10 openssl s_client -quiet -verify_quiet -verify_return_error -verify_hostname localhost \
    -CAfile "$TLS_DIR/ca.pem" -connect "127.0.0.1:$1" 2>/dev/null
}
