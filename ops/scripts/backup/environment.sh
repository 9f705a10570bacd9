# Sourced by the scripts beside it: takes the guide's names of variables where ours are not set.
#   S3_BUCKET=s3://BUCKET      the place, as BACKUP_LOCATION
#   ENCRYPTION_KEY=/path/FILE  the key's file, as BACKUP_KEY_FILE

: "${MESSENGER:=messenger}"

if [ -z "${BACKUP_LOCATION:-}" ]; then
  case "${S3_BUCKET:-}" in
    s3://*) BACKUP_LOCATION=$S3_BUCKET && export BACKUP_LOCATION ;;
  esac
fi
if [ -z "${BACKUP_KEY_FILE:-}" ] && [ -f "${ENCRYPTION_KEY:-}" ]; then
  BACKUP_KEY_FILE=$ENCRYPTION_KEY && export BACKUP_KEY_FILE
fi
