#!/usr/bin/env bash
# Makes the roles and databases of MLflow, its accounts and Optuna, where they are absent, and sets the roles' passwords.
#
# The server and its superuser come from PGHOST, PGPORT, PGUSER and PGPASSWORD, the passwords to be set from
# MLFLOW_DB_PASSWORD and OPTUNA_DB_PASSWORD.
set -euo pipefail
: "${MLFLOW_DB_PASSWORD:?expected the password of the role mlflow, found none}"
: "${OPTUNA_DB_PASSWORD:?expected the password of the role optuna, found none}"

make_role() { # ROLE PASSWORD
  ROLE=$1 PASSWORD=$2 psql -qX -v ON_ERROR_STOP=1 -d postgres <<'SQL'
\getenv role ROLE
\getenv password PASSWORD
SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
SELECT format('ALTER ROLE %I PASSWORD %L', :'role', :'password') \gexec
SQL
}

make_database() { # DATABASE OWNER
  DATABASE=$1 OWNER=$2 psql -qX -v ON_ERROR_STOP=1 -d postgres <<'SQL'
\getenv database DATABASE
\getenv owner OWNER
SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', :'database') \gexec
SQL
}

for _ in $(seq 60); do
  pg_isready -q && break
  sleep 1
done
make_role mlflow "$MLFLOW_DB_PASSWORD"
make_role optuna "$OPTUNA_DB_PASSWORD"
make_database mlflow mlflow
make_database mlflow_auth mlflow
make_database optuna optuna
