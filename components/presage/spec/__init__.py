"""The PredictionJob types: frozen values parsed at the edge, and what is generated from them."""
