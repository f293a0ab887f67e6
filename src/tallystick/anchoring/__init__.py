"""What the record says to other people's systems, as data that nobody sends: content credentials, ERC-7053 commits."""
