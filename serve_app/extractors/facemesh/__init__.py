"""The embedded extractor: four small networks of MediaPipe on LiteRT, written as OpenFace's CSV."""
