#!/usr/bin/env bash
# The tracking server, from the environment alone: no password stands in a list of processes.
#
# MLFLOW_BACKEND_STORE_URI, MLFLOW_ARTIFACTS_DESTINATION, MLFLOW_HOST, MLFLOW_PORT, MLFLOW_WORKERS,
# MLFLOW_SERVER_ALLOWED_HOSTS and MLFLOW_SERVER_CORS_ALLOWED_ORIGINS are MLflow's own. With MLFLOW_AUTH=true everybody
# needs a name and a password: MLFLOW_AUTH_DATABASE_URI keeps the accounts, MLFLOW_AUTH_ADMIN_PASSWORD (and
# MLFLOW_AUTH_ADMIN_USERNAME, admin) is the first one's, MLFLOW_FLASK_SERVER_SECRET_KEY signs the forms.
set -euo pipefail
: "${MLFLOW_BACKEND_STORE_URI:?expected postgresql://USER:PASSWORD@HOST/DATABASE, found none}"
: "${MLFLOW_ARTIFACTS_DESTINATION:?expected s3://BUCKET/PREFIX, found none}"

psycopg() { # the driver that is installed
  printf '%s' "${1/#postgresql:\/\//postgresql+psycopg://}"
}

MLFLOW_BACKEND_STORE_URI=$(psycopg "$MLFLOW_BACKEND_STORE_URI")
export MLFLOW_BACKEND_STORE_URI
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false
export MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=${MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD:-true}
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=${MLFLOW_SERVER_ENABLE_JOB_EXECUTION:-false} # jobs are for language models
unset MLFLOW_TRACKING_URI MLFLOW_RUN_ID
[[ $MLFLOW_ARTIFACTS_DESTINATION != s3://* ]] || python "$(dirname "$0")/bucket.py" check "$MLFLOW_ARTIFACTS_DESTINATION"

case ${MLFLOW_AUTH:-false} in
  false) exec mlflow server ;;
  true) ;;
  *) echo "error: expected MLFLOW_AUTH as true or false, got '$MLFLOW_AUTH'" >&2 && exit 2 ;;
esac
: "${MLFLOW_AUTH_DATABASE_URI:?expected postgresql://USER:PASSWORD@HOST/DATABASE for the accounts, found none}"
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?expected the password of the first account, found none}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?expected random letters, found none; openssl rand -hex 32 makes some}"
umask 077
MLFLOW_AUTH_CONFIG_PATH=$(mktemp -d)/auth.ini
export MLFLOW_AUTH_CONFIG_PATH
uri=$(psycopg "$MLFLOW_AUTH_DATABASE_URI")
cat >"$MLFLOW_AUTH_CONFIG_PATH" <<INI
[mlflow]
default_permission = ${MLFLOW_AUTH_DEFAULT_PERMISSION:-READ}
database_uri = ${uri//%/%%}
admin_username = admin
auth_cache_ttl_seconds = 60
INI
exec mlflow server --app-name basic-auth
