"""What several tests share: leaves, programs, and references in numpy."""
