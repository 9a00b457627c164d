#!/usr/bin/env bash
# A worker: joins the sweeps of a database (CELLML_STORAGE), or one of them (CELLML_STUDY), until it is stopped.
#
# MLFLOW_TRACKING_URI is the tracking server; CELLML_WORKER_DATA the images' folder or s3:// prefix, where it is another
# one than the sweep's.
set -euo pipefail
: "${MLFLOW_TRACKING_URI:?expected the address of the tracking server, found none}"
: "${CELLML_STORAGE:?expected postgresql://USER:PASSWORD@HOST/DATABASE of the sweeps, found none}"
exec python -m cellml worker --wait ${CELLML_STUDY:+--study "$CELLML_STUDY"} \
  ${CELLML_WORKER_DATA:+--data "$CELLML_WORKER_DATA"}
