"""Pure decisions and values: what runs with the network unplugged and the clock stopped."""
