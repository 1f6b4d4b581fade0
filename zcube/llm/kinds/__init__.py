"""Time of one layer's attention block by its kind: latent, sparse latent, grouped queries, sliding windows, linear."""
