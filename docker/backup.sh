#!/usr/bin/env bash
# Saves the databases and the bucket (BUCKET, s3://NAME) in a folder: backup.sh FOLDER. PG* name the server and superuser.
#
# The databases come first: what they name then lies in the bucket, which is copied after them.
set -euo pipefail
folder=${1:?expected the folder of the backup, found none}
: "${BUCKET:?expected s3://NAME of the bucket, found none}"
umask 077
mkdir -p "$folder"
for database in mlflow mlflow_auth optuna; do
  pg_dump --format=custom --dbname="$database" --file="$folder/$database.dump.part"
  mv "$folder/$database.dump.part" "$folder/$database.dump"
done
python "$(dirname "$0")/bucket.py" save "$BUCKET" "$folder/bucket"
