"""Ways from the exported FP32 file to the file that ships, one a file."""
