"""The doors to foreign libraries, one file each."""
