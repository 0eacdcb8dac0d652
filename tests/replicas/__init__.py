"""Programs that train on several replicas, with faults and healthy, on logical CPU devices.

Logical devices are made before TensorFlow starts, hence a process of its own runs the programs:
``python -m tests.replicas.run NAMES``.
"""
