#!/bin/sh
# Looks once at everything the product stands on; arguments go to `messenger health`.
set -eu
. "$(dirname "$0")/environment.sh"
exec "$MESSENGER" health "$@"
