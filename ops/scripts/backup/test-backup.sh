#!/bin/sh
# Proves the newest backup: every byte is checked, then it is restored into a folder that goes afterwards.
set -eu
. "$(dirname "$0")/environment.sh"
"$MESSENGER" backup verify latest "$@"
exec "$MESSENGER" backup drill latest "$@"
