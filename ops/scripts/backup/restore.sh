#!/bin/sh
# Restores `latest` or a named backup, of PostgreSQL into $PGDATA; further arguments go to `messenger restore`.
set -eu
. "$(dirname "$0")/environment.sh"
if [ $# -eq 0 ]; then
  echo "usage: restore.sh latest|NAME [--data DIR | --target DIR] [--replace]" >&2
  exit 2
fi
exec "$MESSENGER" restore "$@"
