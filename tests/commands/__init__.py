"""The commands as a user meets them, and what is printed in the documents."""
