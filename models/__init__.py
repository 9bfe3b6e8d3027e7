"""Language models: loading, scoring, cached decoding, value head, embedded weights. Knows no other room."""
