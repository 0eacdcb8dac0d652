"""What older versions of Keras, numpy and TensorFlow had: told, and bridged while a program runs.

``names``, ``arguments`` and ``members`` hold the tables, an entry for each rename; ``bridge`` makes
them hold, ``recognise`` finds the one that an error comes from.
"""
