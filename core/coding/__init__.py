"""Between latents and streams, with torch: priors, tiles of large pictures, singular values, a codec's weights."""
