"""Receipts: the append-only log as tiles, its proofs, and the exports of an entry; why an event happened is unknown."""
