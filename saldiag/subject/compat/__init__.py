"""APIs of older versions of Keras, numpy and TensorFlow: advice on them, and their emulation.

``names``, ``arguments`` and ``members`` contain the tables, one entry for each API; ``bridge``
emulates them while a program runs, ``recognise`` finds the entry that an error comes from.
"""
