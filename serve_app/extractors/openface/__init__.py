"""The OpenFace extractor: a stock ``FeatureExtraction`` binary, kept warm and fed frame by frame."""
