#!/bin/sh
# Makes the files of deploy/secrets that docker-compose.yml hands to its containers; those that are there stay.
#   deploy/secrets.sh [HOST...]     names or addresses, beside localhost, that clients call the server by
# The certificate is of an authority made for it and thrown away. Put your own in place: tls_cert, tls_key, tls_ca.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
cd secrets

random() { openssl rand -hex 32 | tr -d '\n'; }

for secret in admin_key grafana_password redis_password; do
    [ -e "$secret" ] || random >"$secret"
done

if [ ! -e redis_acl ]; then
    # Redis knows a hash of the password; docs/redis.md says what its user needs.
    hash=$(openssl dgst -sha256 -r redis_password | cut -d ' ' -f 1)
    cat >redis_acl <<END
user default off
user health on nopass resetkeys resetchannels -@all +ping
user memsvc on #$hash ~memsvc:* resetchannels +@all -@dangerous +info +config|get +bgrewriteaof +bgsave
END
fi

if [ ! -e tls_cert ]; then
    names="DNS:localhost,IP:127.0.0.1,IP:::1"
    for host in "$@"; do
        case $host in
        *:* | *[0-9].[0-9]*[0-9]) case $host in *[!0-9a-fA-F:.]*) names="$names,DNS:$host" ;; *) names="$names,IP:$host" ;; esac ;;
        *) names="$names,DNS:$host" ;;
        esac
    done
    new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365"
    # shellcheck disable=SC2086  # several words
    openssl req -x509 $new -subj "/CN=memsvc authority" -keyout authority -out tls_ca \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
    # shellcheck disable=SC2086
    openssl req -x509 $new -subj "/CN=memsvc" -keyout tls_key -out tls_cert -CA tls_ca -CAkey authority \
        -addext "subjectAltName=$names" -addext basicConstraints=critical,CA:FALSE \
        -addext extendedKeyUsage=serverAuth 2>/dev/null
    rm authority
fi

# The containers' users are others than yours: the files are for all to read, behind a directory that is for you alone.
chmod 444 ./*
echo "deploy/secrets:"
ls -l
