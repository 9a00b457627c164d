"""The only room that knows MLflow: runs, artifacts, exports, registered models."""

import logging
import os

# MLflow reads these while it is imported; what the user set wins.
for _name, _value in {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # `patience` tries again, and looks for what a lost answer had made
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}.items():
    os.environ.setdefault(_name, _value)

# Libraries raise the level of the root logger, which would hide that a server is away or where a journal lies.
logging.getLogger("cellml").setLevel(logging.WARNING)
