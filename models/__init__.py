"""Language models: loading, scoring, cached decoding, value head, embedded weights. Imports no other room."""
