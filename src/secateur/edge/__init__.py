"""What goes to the device: numpy and the runtime, never torch."""
