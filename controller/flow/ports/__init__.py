"""What the use cases need from outside, as protocols; `storage` and `traffic` make them real."""
