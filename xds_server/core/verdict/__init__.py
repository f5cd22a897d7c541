"""Pairs of responses in, a judgement out: whether a canary does worse than the stable version.

`joining` makes pairs of access log entries, `paths` groups them, `tally` counts them, `evidence` says how
strong the counts are, and `judgement` says what they mean. Pure: time is an argument.
"""
