"""The only room that knows MLflow: runs, artifacts, exports, registered models."""
