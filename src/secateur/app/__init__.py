"""Where Hydra ends: from the command line to runs and sweeps. Below it there are frozen values and functions only."""
