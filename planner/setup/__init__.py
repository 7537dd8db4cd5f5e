"""What is to be planned: the configuration, and model, data and profiles read and checked."""
