"""`python -m cellml COMMAND`."""

import os
import signal

from cellml.cli import main

if __name__ == "__main__":
    if "MLFLOW_RUN_ID" in os.environ:  # the run is there already: a signal waits until there is a block that closes it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
