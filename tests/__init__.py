"""What must hold of tinytape: a folder for each part of the library."""
