"""Starts a program that does not outlive its parent: `python launch.py PARENT_PID PROGRAM [ARGUMENT ...]`.

On Linux the kernel kills the program as soon as the driver has ended, however that was. Elsewhere the driver's own
clearing up must do.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Becomes the program."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it ended before we had asked to be told
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
