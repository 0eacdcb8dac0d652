"""Every private name in this package, and where the installed version must have it.

``tests/test_keras_internals.py`` checks that the lists are complete and reports by name what the
installed versions of Keras and TensorFlow lack.
"""

from __future__ import annotations

MODULE_NAMES: tuple[tuple[str, str], ...] = (
    ("keras.src.applications.densenet", "DenseNet"),
    ("keras.src.applications.efficientnet_v2", "EfficientNetV2"),
    ("keras.src.applications.mobilenet_v2", "BASE_WEIGHT_PATH"),
    ("keras.src.backend", "compute_output_spec"),
    ("keras.src.backend.common.global_state", "get_global_attribute"),
    ("keras.src.backend.common.global_state", "set_global_attribute"),
    ("keras.src.backend.config", "keras_home"),
    ("keras.src.initializers.random_initializers", "RandomInitializer"),
    ("keras.src.legacy.saving.legacy_h5_format", "load_optimizer_weights_from_hdf5_group"),
    ("keras.src.legacy.saving.legacy_h5_format", "save_weights_to_hdf5_group"),
    ("keras.src.models.functional", "Functional"),
    ("keras.src.random.seed_generator", "GLOBAL_SEED_GENERATOR"),
    ("keras.src.saving.object_registration", "get_registered_object"),
    ("keras.src.trainers.compile_utils", "CompileLoss"),
    ("keras.src.trainers.data_adapters.array_slicing", "train_validation_split"),
    ("keras.src.trainers.data_adapters.data_adapter_utils", "class_weight_to_sample_weights"),
    ("keras.src.trainers.epoch_iterator", "EpochIterator"),
    ("keras.src.utils.rng_utils", "get_random_seed"),
    ("keras.src.utils.tracking", "Tracker"),
    ("tensorflow.core.framework.attr_value_pb2", "AttrValue"),
    ("tensorflow.core.framework.tensor_pb2", "TensorProto"),
    ("tensorflow.python.eager.context", "context"),
    ("tensorflow.python.eager.context", "global_seed"),
    ("tensorflow.python.eager.polymorphic_function.polymorphic_function", "Function"),
    ("tensorflow.python.framework.config", "is_op_determinism_enabled"),
    ("tensorflow.python.framework.ops", "_create_graph_constant"),
    ("tensorflow.python.ops.resource_variable_ops", "BaseResourceVariable"),
    ("tensorflow.python.ops.stateful_random_ops", "global_generator"),
    ("tensorflow.python.util.tf_stack", "_source_mapper_stacks"),
    ("tensorflow.python.util.tf_stack", "extract_stack"),
)
"""Modules without a public name, and what is imported from each."""

CLASS_NAMES: tuple[tuple[str, str], ...] = (
    ("keras.Layer", "_flatten_layers"),
    ("keras.Layer", "_track_variable"),
    ("keras.Model", "_compute_loss"),
    ("keras.callbacks.EarlyStopping", "_set_monitor_op"),
    ("keras.callbacks.ModelCheckpoint", "_set_monitor_op"),
    ("keras.callbacks.ReduceLROnPlateau", "_set_monitor_op"),
    ("tensorflow.Operation", "_set_attr"),
    ("tensorflow.data.Dataset", "_functions"),
    ("tensorflow.data.Dataset", "_inputs"),
)
"""Public classes, and the private methods that are called on their objects."""

OBJECT_NAMES: tuple[tuple[str, str], ...] = (
    ("accuracy", "_direction"),
    ("compiled loss", "_flat_losses"),
    ("compiled loss", "_user_loss"),
    ("compiled loss", "_user_loss_weights"),
    ("compiled metrics", "_user_metrics"),
    ("dtype policy", "_variable_dtype"),
    ("eager context", "_rng"),
    ("functional model", "_inputs"),
    ("layer", "_call_has_training_arg"),
    ("layer", "_dtype_policy"),
    ("layer", "_losses"),
    ("layer", "_non_trainable_variables"),
    ("layer", "_seed_generators"),
    ("layer", "_trainable"),
    ("layer", "_trainable_variables"),
    ("layer with a shape", "_input_shape_arg"),
    ("masked tensor", "_keras_mask"),
    ("model", "_compile_loss"),
    ("model", "_compile_metrics"),
    ("optimizer", "_learning_rate"),
    ("optimizer", "_trainable_variables"),
    ("sequential model", "_layers"),
    ("softmax output", "_keras_logits"),
    ("symbolic tensor", "_dtype"),
    ("symbolic tensor", "_keras_history"),
    ("variable", "_value"),
)
"""Attributes that only an instance has, by kind of object; the test creates one of each."""

TEXTS: tuple[str, ...] = (
    "__autograph_generated_file",
    "_gradient_op_type",
    "_keras_",
    "_lower_using_switch_merge",
    "_noinline",
    "_self_",
    "keras.src.layers",
    "keras.src.legacy.tf_keras",
    "keras.src.losses",
    "keras.src.ops.nn",
    "name_scope_stack",
    "scratch_graph",
    "tensorflow.python.keras",
)
"""Names of modules, files, graphs and operation attributes that are compared as text."""
