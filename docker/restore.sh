#!/usr/bin/env bash
# Brings back what backup.sh saved: restore.sh FOLDER. Stop the tracking server and the workers first.
#
# The databases become what they were, all or nothing each; objects of the bucket are put back, further ones stay.
set -euo pipefail
folder=${1:?expected the folder of the backup, found none}
here=$(dirname "$0")
: "${BUCKET:?expected s3://NAME of the bucket, found none}"
for database in mlflow mlflow_auth optuna; do
  [ -f "$folder/$database.dump" ] || { echo "error: expected $folder/$database.dump, found none" >&2 && exit 2; }
done
"$here/databases.sh"
python "$here/bucket.py" make "$BUCKET"
python "$here/bucket.py" load "$BUCKET" "$folder/bucket"
for database in mlflow mlflow_auth optuna; do
  pg_restore --clean --if-exists --single-transaction --exit-on-error --dbname="$database" "$folder/$database.dump"
done
