"""Analysis of recorded experiments: a table and a description in, the look's own verdicts out."""
