"""What runs a model file on the device, one runtime a file, each the only door to its library."""
