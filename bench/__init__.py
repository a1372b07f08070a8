"""pyslirp beside other user-mode networks, in one run, at native guest speed (`make bench`)."""
