"""The same service as others would write it: servers that score frames by the service's own extractor and model."""
