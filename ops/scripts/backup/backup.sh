#!/bin/sh
# Makes one backup; arguments go to `messenger backup run`.
set -eu
. "$(dirname "$0")/environment.sh"
exec "$MESSENGER" backup run "$@"
