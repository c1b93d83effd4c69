"""The only place on the request path that talks HTTP outward: one seam, two implementations."""
