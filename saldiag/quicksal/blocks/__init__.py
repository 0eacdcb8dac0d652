"""Building blocks of QUICKSAL: encoder, decoder, inception and attention blocks."""
