"""Statistics of many small tensors for the cost of a few large operations.

A network has hundreds of variables, most of them tiny. A handful of operations for each would take
longer to trace and schedule than to compute. The tensors are therefore laid end to end into the
rows of a matrix, each tensor starting on a new row and padded with zeros to whole rows. Row-wise
reductions followed by a sum over each tensor's rows then serve all tensors at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import tensorflow as tf

from saldiag.core.keras_types import Tensor
from saldiag.keras_internals.graphs import is_compiled_by_xla

ROW_LENGTH = 128
"""Elements per row: short enough to keep padding small, long enough for fast reductions."""

BLOCK_ELEMENTS = 1 << 20
"""Approximate number of elements per block (4 MB of float32). Few blocks need few operations, but
several let the optimizer update the first weights while other gradients are still being
computed."""

MIN_SAFE_SQUARE_SUM = 1e-30
"""A row's sum of squares above this has lost less than 1e-6 of itself to underflow: an element's
square vanishes below float32's 1.2e-38, and a row has 128 elements."""

GRADIENT_COLUMNS = ("norm", "mean", "maximum", "zero_share", "nonfinite_share")
"""Names of the columns of ``gradient_statistics``."""


@dataclass(frozen=True)
class Block:
    """K tensors in the rows of one matrix."""

    matrix: Tensor
    """(rows, ``ROW_LENGTH``), float32 or float64."""
    owner: Tensor
    """(rows) int32: index of the tensor that a row belongs to, ascending."""
    sizes: Tensor
    """(K) float64: number of elements of each tensor. For a sparse tensor those of its dense shape,
    which is more than its rows hold."""

    @property
    def count(self) -> Tensor:
        """K, the number of tensors: a tensor if it is unknown until the graph runs."""
        known = self.sizes.shape[0]
        return tf.size(self.sizes) if known is None else known

    def sum_per_tensor(self, rows: Tensor) -> Tensor:
        """Sum of a value per row over each tensor's rows: (rows) to (K), in float64."""
        wide = tf.cast(rows, tf.float64)
        return tf.math.unsorted_segment_sum(wide, self.owner, self.count)


def group_by_size(sizes: Sequence[int], limit: int = BLOCK_ELEMENTS) -> list[list[int]]:
    """Split positions into consecutive groups; a group is closed once it has ``limit`` elements."""
    groups: list[list[int]] = []
    remaining = 0
    for position, size in enumerate(sizes):
        if remaining <= 0:
            groups.append([])
            remaining = limit
        groups[-1].append(position)
        remaining -= size
    return groups


def block_dtype(tensors: Sequence[Tensor]) -> Any:
    """The dtype of the block that ``pack_tensors`` makes of these tensors."""
    wide = any(tensor.dtype.base_dtype == tf.float64 for tensor in tensors)
    return tf.float64 if wide else tf.float32


def order_with_gaps(values: Sequence[Any]) -> list[int]:
    """Index of each value among those that are not None; for None the index behind the last."""
    count = sum(value is not None for value in values)
    position = iter(range(count))
    return [count if value is None else next(position) for value in values]


def pack_tensors(tensors: Sequence[Tensor]) -> Block:
    """Lay dense tensors or IndexedSlices (values of a repeated index are summed) into a block.

    float64 stays float64; anything else is computed in float32, because float16 would overflow.
    """
    dtype = block_dtype(tensors)
    flat_shape = tf.constant([-1])
    present = [_stored_elements(tensor) for tensor in tensors]
    # Most variables are vectors already, and each operation saved shortens the trace.
    dense = [t if t.shape.rank == 1 else tf.reshape(t, flat_shape) for t in present]
    parts = _pad_to_rows(dense, dtype)
    matrix = tf.reshape(tf.concat(parts, 0), [-1, ROW_LENGTH])
    return Block(matrix, _row_owners(dense), _element_counts(tensors))


def gradient_statistics(block: Block) -> Tensor:
    """``GRADIENT_COLUMNS`` of each tensor: (K, 5) float64.

    Norm (L2), mean and maximum are of absolute values, and infinite if any element is not finite.
    The shares of zeros and of non-finite elements lie in [0, 1].
    """
    return _traced_once(_gradient_statistics, block.matrix.dtype, 1, is_compiled_by_xla())(
        block.matrix, block.owner, block.sizes
    )


def change_statistics(before: Tensor, after: Block) -> Tensor:
    """Relative change of each tensor, and its norm before the change: (K, 2) float64.

    The relative change is the L2 norm of the difference over the norm before: 0 for an unchanged
    tensor, infinite for a tensor of zeros that changed. Norms are infinite if any element is not
    finite.

    Args:
        before: the matrix of the same block before the change.
        after: the block after the change.
    """
    return _traced_once(_change_statistics, before.dtype, 2, is_compiled_by_xla())(
        before, after.matrix, after.owner, after.sizes
    )


@cache
def _traced_once(
    statistics: Callable[..., Any], dtype: Any, matrices: int, fixed_shapes: bool
) -> Any:
    """``statistics`` of matrices, owner and sizes as a function that is traced here, and only once.

    A training step then contains one call in place of a hundred operations, each of which costs
    Python a third of a millisecond. TensorFlow inlines the operations when the step runs.

    Args:
        statistics: the function; its last argument is ``fixed_shapes``.
        dtype: of the matrices.
        matrices: how many there are.
        fixed_shapes: whether no array's length may depend on values, as XLA wants it.
    """
    matrix = tf.TensorSpec([None, ROW_LENGTH], dtype)
    owner_and_sizes = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float64)]
    function = tf.function(
        partial(statistics, fixed_shapes=fixed_shapes),
        autograph=False,
        input_signature=[*[matrix] * matrices, *owner_and_sizes],
    )
    with tf.init_scope():  # made inside a step's graph, it would keep the graph alive
        return function.get_concrete_function()


def _gradient_statistics(
    matrix: Tensor, owner: Tensor, sizes: Tensor, *, fixed_shapes: bool
) -> Tensor:
    block = Block(matrix, owner, sizes)
    magnitude = tf.abs(matrix)
    row_sum = tf.reduce_sum(magnitude, 1)
    row_max = tf.cast(tf.reduce_max(magnitude, 1), tf.float64)
    columns = [
        tf.sqrt(_square_sums(block, fixed_shapes)),
        block.sum_per_tensor(row_sum) / sizes,
        tf.math.unsorted_segment_max(row_max, owner, block.count),
    ]
    # Counting takes several passes over the data, so count only in rows that can contain a match.
    # Not ~(x > 0): TensorFlow's graph optimizer turns that into x <= 0, which is False for NaN.
    # XLA counts while it reads the row for the sum, and its arrays have fixed lengths: all rows.
    has_nonfinite = None if fixed_shapes else ~tf.math.is_finite(row_sum)
    has_zero = None if fixed_shapes else has_nonfinite | (tf.reduce_min(magnitude, 1) <= 0)
    zeros = _count_elements(block, has_zero, lambda x: tf.equal(x, 0))
    nonfinite = _count_elements(block, has_nonfinite, lambda x: ~tf.math.is_finite(x))
    nonzero = block.sum_per_tensor(tf.ones_like(owner)) * ROW_LENGTH - zeros
    infinite = tf.fill(tf.shape(nonfinite), tf.constant(np.inf, tf.float64))
    finite_or_inf = [tf.where(nonfinite > 0, infinite, column) for column in columns]
    shares = [_share(sizes - nonzero, sizes), _share(nonfinite, sizes)]
    return tf.stack([*finite_or_inf, *shares], 1)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole``; exactly 1 for equal numbers, where XLA's reciprocals round."""
    return tf.where(tf.equal(part, whole), tf.ones_like(whole), part / whole)


def _change_statistics(
    before: Tensor, after: Tensor, owner: Tensor, sizes: Tensor, *, fixed_shapes: bool
) -> Tensor:
    weight = l2_norms(Block(before, owner, sizes), fixed_shapes)
    change = l2_norms(Block(after - before, owner, sizes), fixed_shapes)
    from_zero = tf.where(change > 0, tf.constant(np.inf, tf.float64), tf.zeros_like(change))
    ratio = tf.where(weight > 0, tf.math.divide_no_nan(change, weight), from_zero)
    return tf.stack([ratio, weight], 1)


def l2_norms(block: Block, fixed_shapes: bool = False) -> Tensor:
    """L2 norm of each tensor: (K) float64; infinite if any element is not finite.

    Args:
        block: the tensors.
        fixed_shapes: whether no array's length may depend on values, as XLA wants it.
    """
    norm = tf.sqrt(_square_sums(block, fixed_shapes))
    return tf.where(tf.math.is_finite(norm), norm, tf.constant(np.inf, tf.float64))


def _square_sums(block: Block, fixed_shapes: bool) -> Tensor:
    """Sum of squares of each tensor: (K) float64.

    In float32 the square of 1e20 overflows and that of 1e-25 vanishes; rows in which that may have
    happened are computed again in float64, or, with fixed shapes, all rows are scaled by their
    maximum first.
    """
    if fixed_shapes:
        return block.sum_per_tensor(_scaled_square_sums(block.matrix))
    rows = tf.reduce_sum(tf.square(block.matrix), 1)
    where = tf.where(~((rows > MIN_SAFE_SQUARE_SUM) & tf.math.is_finite(rows)))
    wide = tf.cast(tf.gather_nd(block.matrix, where), tf.float64)
    exact = tf.reduce_sum(tf.square(wide), 1)
    return block.sum_per_tensor(
        tf.tensor_scatter_nd_update(tf.cast(rows, tf.float64), where, exact)
    )


def _scaled_square_sums(matrix: Tensor) -> Tensor:
    """Sum of squares of each row: (rows) float64, whatever the size of its elements."""
    top = tf.reduce_max(tf.abs(matrix), 1)
    divisor = tf.where((top > 0) & tf.math.is_finite(top), top, tf.ones_like(top))
    rows = tf.reduce_sum(tf.square(matrix / divisor[:, tf.newaxis]), 1)
    return tf.cast(rows, tf.float64) * tf.square(tf.cast(divisor, tf.float64))


def _count_elements(block: Block, suspects: Tensor | None, test: Callable[[Any], Any]) -> Tensor:
    """Number of elements of each tensor that pass ``test``: (K) float64.

    Args:
        block: the tensors.
        suspects: the rows to look at; all if None.
        test: a tensor's elements to bools.
    """
    if suspects is None:
        passed = tf.reduce_sum(tf.cast(test(block.matrix), tf.float32), 1)
        return block.sum_per_tensor(passed)
    where = tf.reshape(tf.where(suspects), [-1])
    passed = tf.cast(test(tf.gather(block.matrix, where)), tf.float32)
    return tf.math.unsorted_segment_sum(
        tf.cast(tf.reduce_sum(passed, 1), tf.float64),
        tf.gather(block.owner, where),
        block.count,
    )


def _stored_elements(tensor: Tensor) -> Tensor:
    """All elements of a dense tensor, or the touched rows of a sparse one."""
    if not isinstance(tensor, tf.IndexedSlices):
        return tensor
    if is_compiled_by_xla():
        return _summed_rows_of_fixed_number(tensor)
    touched, position = tf.unique(tensor.indices)
    return tf.math.unsorted_segment_sum(tensor.values, position, tf.size(touched))


def _summed_rows_of_fixed_number(sparse: Any) -> Tensor:
    """The touched rows of a sparse tensor, then as many rows of zeros as indices are repeated."""
    order = tf.argsort(sparse.indices)
    ordered = tf.gather(sparse.indices, order)
    is_new = tf.cast(ordered[1:] != ordered[:-1], tf.int32)
    position = tf.cumsum(tf.concat([[0], is_new], 0))[: tf.size(order)]
    return tf.math.unsorted_segment_sum(tf.gather(sparse.values, order), position, tf.size(order))


def _pad_to_rows(dense: Sequence[Tensor], dtype: Any) -> list[Any]:
    """The flat tensors, each followed by the zeros that fill its last row."""
    zeros: dict[int, Any] = {}
    parts: list[Any] = []
    for flat in dense:
        parts.append(tf.cast(flat, dtype))
        size = flat.shape[0]
        if size is None:
            parts.append(tf.zeros([-tf.size(flat) % ROW_LENGTH], dtype))
        elif missing := -size % ROW_LENGTH:
            if missing not in zeros:
                zeros[missing] = tf.constant(0, dtype, [missing])
            parts.append(zeros[missing])
    return parts


def _row_owners(dense: Sequence[Tensor]) -> Tensor:
    """Index of the tensor that each row belongs to: (rows) int32."""
    if all(flat.shape[0] is not None for flat in dense):
        rows = [-(-flat.shape[0] // ROW_LENGTH) for flat in dense]
        return tf.constant(np.repeat(np.arange(len(rows), dtype=np.int32), rows))
    counts = [-(-tf.size(flat) // ROW_LENGTH) for flat in dense]
    return tf.repeat(tf.range(len(counts)), tf.stack(counts))


def _element_counts(tensors: Sequence[Tensor]) -> Tensor:
    """Number of elements of each tensor: (K) float64."""

    def size(tensor: Tensor) -> Any:
        if isinstance(tensor, tf.IndexedSlices):
            return tf.cast(tf.reduce_prod(tensor.dense_shape), tf.float64)
        known = tensor.shape.num_elements()
        return tf.cast(tf.size(tensor), tf.float64) if known is None else known

    sizes = [size(tensor) for tensor in tensors]
    if all(isinstance(size, int) for size in sizes):
        return tf.constant(sizes, tf.float64)
    return tf.stack([tf.cast(size, tf.float64) for size in sizes])
