"""What a check may have done about what it found, one effect a file; ``acting`` does what was decided."""
