"""Judges work under the job's law: draws the challenge, compares copies, names who was refuted and why.

Knows the plan, the commitments and the digests of delivered bytes. Refuses to know how a worker computed, and who is
paid what.
"""
