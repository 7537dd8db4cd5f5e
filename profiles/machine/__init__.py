"""What a device and a machine are."""
