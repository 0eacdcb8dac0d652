"""A fault of the case: the import of this module silences Keras' UserWarnings.

One of them said, from the first day, that softmax over an axis of size 1 is always 1.
"""

import warnings

warnings.filterwarnings("ignore", category=UserWarning, module="keras")
