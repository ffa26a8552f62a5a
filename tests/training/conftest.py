"""Tests that train networks, for half a minute: `make test` runs them, `make unit` does not. They need no Ray.

What a training is made of, and what is done with a model afterwards, is tested in tests/unit/models/.
"""

import torch

torch.set_num_threads(1)  # as the service does; more of them only contend, and many times slower, on busy cores
