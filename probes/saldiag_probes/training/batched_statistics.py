"""Statistics of many small tensors at the price of a few large operations.

A network has hundreds of variables, most of them tiny. A handful of operations for each would cost
more to trace and to schedule than to compute, so tensors are laid end to end into the rows of a
matrix, every tensor starting on a row of its own and padded with zeros to whole rows. Row-wise
reductions followed by a sum over the rows of each tensor then serve all tensors at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

ROW_LENGTH = 128
"""Elements of a row: short enough that padding is small, long enough that reductions are fast."""

BLOCK_ELEMENTS = 1 << 20
"""Elements of a block, about (4 MB of float32): few blocks are few operations, but several let the
optimizer go on with the first weights while gradients are still being computed."""

MIN_SAFE_SQUARE_SUM = 1e-30
"""A row's sum of squares above this has lost less than 1e-6 of itself to underflow: an element's
square vanishes below float32's 1.2e-38, and a row has 128 elements."""

GRADIENT_COLUMNS = ("norm", "mean", "maximum", "zero_share", "nonfinite_share")


@dataclass(frozen=True)
class Block:
    """K tensors in the rows of one matrix.

    ``matrix`` is (rows, ``ROW_LENGTH``), float32 or float64; ``owner`` (rows) the position of the tensor
    that a row belongs to, ascending; ``sizes`` (K) the elements of each tensor as it stands for,
    which for a sparse one is more than what lies in its rows.
    """

    matrix: Any
    owner: Any
    sizes: Any

    @property
    def count(self) -> Any:
        """K, the number of tensors: a tensor where it is not known before the graph runs."""
        known = self.sizes.shape[0]
        return tf.size(self.sizes) if known is None else known

    def sum_per_tensor(self, rows: Any) -> Any:
        """Sum of a value per row over each tensor: (rows) to (K), in float64."""
        wide = tf.cast(rows, tf.float64)
        return tf.math.unsorted_segment_sum(wide, self.owner, self.count)


def group_by_size(sizes: Sequence[int], limit: int = BLOCK_ELEMENTS) -> list[list[int]]:
    """Split positions into consecutive groups, each closed once it holds ``limit`` elements."""
    groups: list[list[int]] = []
    room = 0
    for position, size in enumerate(sizes):
        if room <= 0:
            groups.append([])
            room = limit
        groups[-1].append(position)
        room -= size
    return groups


def block_dtype(tensors: Sequence[Any]) -> Any:
    """The dtype of the block that ``pack_tensors`` makes of these."""
    wide = any(tensor.dtype.base_dtype == tf.float64 for tensor in tensors)
    return tf.float64 if wide else tf.float32


def order_with_gaps(values: Sequence[Any]) -> list[int]:
    """Where each value stands among those that are not None; None stands behind the last."""
    count = sum(value is not None for value in values)
    place = iter(range(count))
    return [count if value is None else next(place) for value in values]


def pack_tensors(tensors: Sequence[Any]) -> Block:
    """Lay dense tensors or IndexedSlices (rows of a repeated index are summed) into a block.

    float64 stays float64; anything else is computed in float32, where float16 cannot overflow.
    """
    dtype = block_dtype(tensors)
    flat_shape = tf.constant([-1])
    present = [_stored_elements(tensor) for tensor in tensors]
    # Most variables are vectors already, and every operation less is a shorter trace.
    dense = [t if t.shape.rank == 1 else tf.reshape(t, flat_shape) for t in present]
    parts = _pad_to_rows(dense, dtype)
    matrix = tf.reshape(tf.concat(parts, 0), [-1, ROW_LENGTH])
    return Block(matrix, _row_owners(dense), _element_counts(tensors))


def gradient_statistics(block: Block) -> Any:
    """``GRADIENT_COLUMNS`` of each tensor: (K, 5) float64.

    Norm, mean and maximum are infinite where any element is not finite.
    """
    return _traced_once(_gradient_statistics, block.matrix.dtype, 1)(
        block.matrix, block.owner, block.sizes
    )


def change_statistics(before: Any, after: Block) -> Any:
    """How far each tensor moved, and its norm before that: (K, 2) float64.

    ``before`` is the matrix of the same block. The first is the norm of the change over that of the
    tensor: 0 for one that stays, infinite for one of zeros that moves. Norms are infinite where any
    element is not finite.
    """
    return _traced_once(_change_statistics, before.dtype, 2)(
        before, after.matrix, after.owner, after.sizes
    )


@cache
def _traced_once(statistics: Callable[..., Any], dtype: Any, matrices: int) -> Any:
    """``statistics`` of matrices, owner and sizes as a function that is traced here, and only once.

    A training step then holds one call in the place of a hundred operations, each of which costs
    Python a third of a millisecond. TensorFlow puts the operations back in when the step runs.
    """
    matrix = tf.TensorSpec([None, ROW_LENGTH], dtype)
    rest = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float64)]
    function = tf.function(
        statistics, autograph=False, input_signature=[*[matrix] * matrices, *rest]
    )
    with tf.init_scope():  # a step that is being traced would be kept alive
        return function.get_concrete_function()


def _gradient_statistics(matrix: Any, owner: Any, sizes: Any) -> Any:
    block = Block(matrix, owner, sizes)
    magnitude = tf.abs(matrix)
    row_sum = tf.reduce_sum(magnitude, 1)
    row_max = tf.cast(tf.reduce_max(magnitude, 1), tf.float64)
    columns = [
        tf.sqrt(_square_sums(block)),
        block.sum_per_tensor(row_sum) / sizes,
        tf.math.unsorted_segment_max(row_max, owner, block.count),
    ]
    # Counting costs several passes, so only rows that can hold what is counted are looked at.
    # Of ~(x > 0) TensorFlow's graph optimizer makes x <= 0, which a NaN is not.
    broken = ~tf.math.is_finite(row_sum)
    zeros = _count_elements(
        block, broken | (tf.reduce_min(magnitude, 1) <= 0), lambda x: tf.equal(x, 0)
    )
    nonfinite = _count_elements(block, broken, lambda x: ~tf.math.is_finite(x))
    nonzero = block.sum_per_tensor(tf.ones_like(owner)) * ROW_LENGTH - zeros
    infinite = tf.fill(tf.shape(nonfinite), tf.constant(np.inf, tf.float64))
    sound = [tf.where(nonfinite > 0, infinite, column) for column in columns]
    return tf.stack([*sound, 1 - nonzero / sizes, nonfinite / sizes], 1)


def _change_statistics(before: Any, after: Any, owner: Any, sizes: Any) -> Any:
    weight = l2_norms(Block(before, owner, sizes))
    change = l2_norms(Block(after - before, owner, sizes))
    from_zero = tf.where(change > 0, tf.constant(np.inf, tf.float64), tf.zeros_like(change))
    ratio = tf.where(weight > 0, tf.math.divide_no_nan(change, weight), from_zero)
    return tf.stack([ratio, weight], 1)


def l2_norms(block: Block) -> Any:
    """L2 norm of each tensor: (K) float64; infinite where any element is not finite."""
    norm = tf.sqrt(_square_sums(block))
    return tf.where(tf.math.is_finite(norm), norm, tf.constant(np.inf, tf.float64))


def _square_sums(block: Block) -> Any:
    """Sum of squares of each tensor: (K) float64.

    In float32 the square of 1e20 overflows and that of 1e-25 vanishes; rows where that may have
    happened are computed once more in float64.
    """
    rows = tf.reduce_sum(tf.square(block.matrix), 1)
    where = tf.where(~((rows > MIN_SAFE_SQUARE_SUM) & tf.math.is_finite(rows)))
    again = tf.cast(tf.gather_nd(block.matrix, where), tf.float64)
    exact = tf.reduce_sum(tf.square(again), 1)
    return block.sum_per_tensor(
        tf.tensor_scatter_nd_update(tf.cast(rows, tf.float64), where, exact)
    )


def _count_elements(block: Block, suspects: Any, test: Callable[[Any], Any]) -> Any:
    """How many elements of each tensor pass ``test``, looking at the suspect rows: (K) float64."""
    where = tf.reshape(tf.where(suspects), [-1])
    passed = tf.cast(test(tf.gather(block.matrix, where)), tf.float32)
    return tf.math.unsorted_segment_sum(
        tf.cast(tf.reduce_sum(passed, 1), tf.float64),
        tf.gather(block.owner, where),
        block.count,
    )


def _stored_elements(tensor: Any) -> Any:
    """The elements that are there: all of a dense tensor, the touched rows of a sparse one."""
    if not isinstance(tensor, tf.IndexedSlices):
        return tensor
    touched, position = tf.unique(tensor.indices)
    return tf.math.unsorted_segment_sum(tensor.values, position, tf.size(touched))


def _pad_to_rows(dense: Sequence[Any], dtype: Any) -> list[Any]:
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


def _row_owners(dense: Sequence[Any]) -> Any:
    if all(flat.shape[0] is not None for flat in dense):
        rows = [-(-flat.shape[0] // ROW_LENGTH) for flat in dense]
        return tf.constant(np.repeat(np.arange(len(rows), dtype=np.int32), rows))
    counts = [-(-tf.size(flat) // ROW_LENGTH) for flat in dense]
    return tf.repeat(tf.range(len(counts)), tf.stack(counts))


def _element_counts(tensors: Sequence[Any]) -> Any:
    def size(tensor: Any) -> Any:
        if isinstance(tensor, tf.IndexedSlices):
            return tf.cast(tf.reduce_prod(tensor.dense_shape), tf.float64)
        known = tensor.shape.num_elements()
        return tf.cast(tf.size(tensor), tf.float64) if known is None else known

    sizes = [size(tensor) for tensor in tensors]
    if all(isinstance(size, int) for size in sizes):
        return tf.constant(sizes, tf.float64)
    return tf.stack([tf.cast(size, tf.float64) for size in sizes])
