"""Who holds what: signed transactions, double entry, escrow, the job's transitions, and apply(), the one rule book.

Knows entries, accounts and states. Refuses to know why a verdict fell and what anything is worth.
"""
