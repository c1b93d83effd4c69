"""The benchmark: `python -m tests.bench` prints one Markdown table.

Machines are shared and their speed drifts, so nothing here asserts a time. CPU comes from the operating
system, divided by the requests answered, and every figure stands beside a yardstick measured in the same
minutes.
"""
