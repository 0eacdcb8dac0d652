"""A fault of the case: importing this module suppresses Keras' UserWarnings.

One of them reports that softmax over an axis of size 1 is always 1.
"""

import warnings

warnings.filterwarnings("ignore", category=UserWarning, module="keras")
