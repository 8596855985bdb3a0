"""What goes wrong in a factory on purpose, and its labels."""
