"""All that a master and its workers share: messages, the channel, the board."""
