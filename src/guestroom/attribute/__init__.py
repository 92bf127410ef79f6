"""Which bytes are what: guest RAM, overhead, reclaimable cache. Pure: text and readings in, figures out."""
