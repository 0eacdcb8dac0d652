"""Private names that saldiag compares or sets: modules, files, scopes and attributes.

Importing this module imports neither Keras nor TensorFlow.
"""

from __future__ import annotations

LOOKUP_MODULE = "keras.src.saving.object_registration"
"""Module that finds a registered class by its name; the lookup cannot be extended publicly."""
LOOKUP_FUNCTION = "get_registered_object"
"""The function in ``LOOKUP_MODULE`` that loading a model calls."""

LAYER_MODULES = "keras.src.layers"
"""Package of the layers that Keras itself defines; Keras has no flag that marks them."""
LOSS_MODULES = "keras.src.losses"
"""Package of the losses that Keras itself defines; Keras has no flag that marks them."""
ADVICE_MODULE = "keras.src.ops.nn"
"""Module that Keras' warnings about losses and logits come from, which a filter may name."""

KERAS_2_IN_TENSORFLOW = "tensorflow.python.keras"
"""Package of the Keras 2 inside TensorFlow; its objects are known by their module alone."""
KERAS_2_IN_KERAS = "keras.src.legacy.tf_keras"
"""Package of Keras 3 for objects of Keras 2; they are known by their module alone."""

AUTOGRAPH_FILE = "__autograph_generated_file"
"""Part of the name of each file with converted code; AutoGraph has no public test for one."""
SCRATCH_GRAPH = "scratch_graph"
"""Start of the name of the graphs in which Keras infers shapes; nothing public marks them."""
TRACKING_PREFIX = "_self_"
"""Start of the names of attributes in which TensorFlow does its own bookkeeping on an object."""
KERAS_NOTE_PREFIX = "_keras_"
"""Start of the names of attributes that Keras leaves on a tensor (logits, mask, history)."""
NAME_SCOPES = "name_scope_stack"
"""Key of the open name scopes in Keras' global state, which has no public reader."""
NAME_COUNTERS = "object_name_uids"
"""Key of the counters of automatic names in Keras' global state, which has no public reader."""

TRAINABLE_FLAG = "_trainable"
"""A layer's own flag. The public ``trainable`` also sets the flag of every layer inside."""
LAYER_POLICY = "_dtype_policy"
"""A layer's policy. Setting the public ``dtype_policy`` may quantize, or change a policy map."""
TENSOR_DTYPE = "_dtype"
"""The dtype of a ``KerasTensor``; the public ``dtype`` is read-only."""
COMPILED_LOSS = "_compile_loss"
"""A model's compiled loss; publicly only ``compile`` sets it, with everything else."""
COMPILED_METRICS = "_compile_metrics"
"""A model's compiled metrics; publicly only ``compile`` sets them, with everything else."""
LOSS_METHOD = "_compute_loss"
"""The method by which Keras' training step calls ``compute_loss``."""

CONSTANT_FUNCTION = "_create_graph_constant"
"""The function in ``graphs.CONSTANT_MODULE`` that turns a Python number into a graph constant."""

SEED_FUNCTION = "get_seed"
"""The function in ``state.SEED_MODULE`` that gives a random operation its seeds."""
SET_EAGER_SEED = "_set_global_seed"
"""The method of ``state.Context`` behind ``tf.random.set_seed``."""
CALL_FUNCTION = "_call_flat"
"""The method of ``graphs.ConcreteFunction`` by which every traced function is called."""
REGISTER = "register"
"""The method of ``graphs.Registry`` by which every gradient is registered."""
CUSTOM_GRADIENT = "CustomGradient-"
"""Start of the names by which ``tf.custom_gradient`` registers its functions."""
