#!/usr/bin/env bash
# Runs a command where another PostgreSQL is the only one installed: with_postgres.sh FOLDER COMMAND...
#   FOLDER: what /usr/lib/postgresql would be, with <major>/bin in it (postgres, initdb, pg_basebackup, pg_controldata, pg_rewind, pg_waldump).
# In a mount namespace of its own, so as root; nothing outside it changes. For example
#   tests/drivers/with_postgres.sh /opt/postgres build/release/bin/postgres_test
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
folder=$(realpath "$1")
shift
ls "$folder"/*/bin/postgres > /dev/null
# shellcheck disable=SC2016
exec unshare --mount bash -c 'mount --bind "$0" /usr/lib/postgresql && exec "$@"' "$folder" "$@"
