"""The private parts of Keras and TensorFlow that saldiag uses; nothing else in saldiag names one.

A private name may change with any release. Here each one is wrapped by a function, a class or a
constant that says which public API is missing, so that a release which renames something is
answered in this package alone. ``contract.py`` lists all of them; ``tests/test_keras_internals.py``
reports by name those that the installed version lacks, and fails where one is used outside.

- ``names``: names of modules, files and attributes; needs neither Keras nor TensorFlow.
- ``layers``, ``tensors``, ``compilation``, ``optimizers``, ``data``, ``serialization``: access to
  what an object holds. They import Keras only when a function needs it.
- ``classes``, ``applications``: classes and functions of Keras without a public name.
- ``variables``, ``graphs``, ``state``: what lies in TensorFlow, and the global state of both.
"""
