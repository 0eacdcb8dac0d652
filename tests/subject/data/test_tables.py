"""Arrays of an .npz and rows of a .csv as items; errors name what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saldiag.core.errors import DataError

pytestmark = pytest.mark.tensorflow

ROWS = "a,b,kind\n1,2.5,cat\n3,,dog\n5,6,cat\n"


def takes(*inputs: tuple[str, tuple[int | None, ...]], **known: Any) -> Any:
    from saldiag.subject.models.input_spec import InputSpec

    return InputSpec(tuple(inputs), **known)


def csv(path: Path, text: str, target: str | None = None, inputs: Any = (), **known: Any) -> Any:
    from saldiag.subject.data.tables import open_csv

    path.write_text(text, encoding="utf-8")
    return open_csv(path, inputs, target, takes(**known))


def npz(path: Path, inputs: Any = (), target: str | None = None, wants: Any = None) -> Any:
    from saldiag.subject.data.tables import open_npz

    return open_npz(path, inputs, target, wants or takes())


def test_rows_of_a_table(tmp_path: Path) -> None:
    items = csv(tmp_path / "t.csv", ROWS, "kind")
    x, y = items.read([2, 0])
    assert items.count == 3
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(x, [[5, 6], [1, 2.5]])
    np.testing.assert_array_equal(y, [0, 0])
    assert items.notes == ("classes by number: 0 cat, 1 dog",)
    assert np.isnan(items.read([1])[0][0, 1]), "a gap is a finding, not an error"


def test_a_target_of_texts_is_as_the_loss_compares_it(tmp_path: Path) -> None:
    one_hot = csv(tmp_path / "t.csv", ROWS, "kind", output_shape=(None, 2), expects_one_hot=True)
    np.testing.assert_array_equal(one_hot.read([1])[1], [[0, 1]])
    single = csv(tmp_path / "t.csv", ROWS, "kind", output_shape=(None, 1))
    np.testing.assert_array_equal(single.read([0, 1])[1], [[0], [1]])


def test_a_target_of_numbers_stays_as_it_is(tmp_path: Path) -> None:
    _, y = csv(tmp_path / "t.csv", ROWS, "a", ["b"]).read([0, 1])
    np.testing.assert_array_equal(y, [1, 3])
    _, y = csv(tmp_path / "t.csv", "a,b\n1,True\n2,False\n", "b").read([0, 1])
    np.testing.assert_array_equal(y, [1, 0])


def test_columns_become_the_inputs_of_their_names(tmp_path: Path) -> None:
    from saldiag.subject.data.tables import open_csv

    (tmp_path / "t.csv").write_text(ROWS)
    wants = takes(("b", (None, 1)), ("a", (None, 1)))
    x, _ = open_csv(tmp_path / "t.csv", (), "kind", wants).read([0])
    assert {name: column.shape for name, column in x.items()} == {"a": (1, 1), "b": (1, 1)}


@pytest.mark.parametrize(("name", "text"), [("t.csv", "a;b\n1;2\n"), ("t.tsv", "a\tb\n1\t2\n")])
def test_other_separators(name: str, text: str, tmp_path: Path) -> None:
    x, y = csv(tmp_path / name, text, "b").read([0])
    assert (x.tolist(), y.tolist()) == ([[1.0]], [2])


@pytest.mark.parametrize(
    ("text", "target", "inputs", "said"),
    [
        (ROWS, None, (), "the target column is not known.*it has a, b, kind"),
        (ROWS, "knid", (), r"has no knid, which --target names \(did you mean kind\?\)"),
        (ROWS, "kind", ("c",), "has no c, which --inputs names"),
        (ROWS, "a", (), r"column kind contains text \('cat' in row 1\)"),
        ("a,b\n1,2\n?,3\n", "b", (), r"column a contains text \('\?' in row 2\)"),
        ("a,kind\n1,x\n2,\n", "kind", (), "target kind is empty in row 2"),
        ("a,kind\n1,x\n2,x\n", "kind", (), "only 1 class: at least two are needed"),
        ("a\n1\n", "a", (), "no column is left as input"),
        ("", "a", (), "empty file"),
        ("a,b\n", "a", (), "contains no rows"),
        ("a,b\n1,2\n1,2,3,4\n", "a", (), "not a table"),
    ],
)
def test_tables_that_cannot_be_taken(
    text: str, target: str | None, inputs: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        csv(tmp_path / "t.csv", text, target, inputs)


def test_more_classes_than_outputs(tmp_path: Path) -> None:
    text = "a,k\n1,x\n2,y\n3,z\n"
    with pytest.raises(DataError, match=r"3 classes, but the model's output has shape \(None, 2\)"):
        csv(tmp_path / "t.csv", text, "k", output_shape=(None, 2))


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    from saldiag.subject.data.tables import open_csv

    (tmp_path / "t.csv").write_bytes("a,größe\n1,2\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8 text"):
        open_csv(tmp_path / "t.csv", (), "a", takes())


def test_arrays_by_their_usual_names_and_by_asked_ones(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, x_train=np.eye(3), other=np.zeros((3, 2)), y_train=np.arange(3))
    x, y = npz(path).read([1])
    assert (x.tolist(), y.tolist()) == ([[0, 1, 0]], [1])
    x, y = npz(path, ("x_train", "other"), "other").read([1])
    assert {name: part.shape for name, part in x.items()} == {"x_train": (1, 3), "other": (1, 2)}
    assert y.tolist() == [[0, 0]]
    wants = takes(("other", (None, 2)), ("x_train", (None, 3)))
    assert set(npz(path, wants=wants).read([1])[0]) == {"x_train", "other"}


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "t.npz", x=np.array([Trap(), Trap()], dtype=object), y=np.arange(2))
    with pytest.raises(DataError, match="pickled Python objects, which saldiag doesn't load"):
        npz(tmp_path / "t.npz")
    np.array([Trap()], dtype=object).dump(tmp_path / "u.npz")
    with pytest.raises(DataError, match="pickled Python objects, which saldiag doesn't load"):
        npz(tmp_path / "u.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("arrays", "inputs", "target", "said"),
    [
        ({"a": 3, "b": 3}, (), None, "the input array is not known.*it has a, b"),
        ({"x": 3, "b": 3}, (), None, "the target array is not known.*it has x, b"),
        ({"x": 3, "y": 3}, (), "z", r"has no z, which --target names \(there are x, y\)"),
        ({"x": 3, "y": 3}, ("X_",), None, r"--inputs names \(did you mean x\?\)"),
        ({"x": 3, "y": 4}, (), None, r"the arrays differ in length: \(3,\), \(4,\)"),
        ({"x": 0, "y": 0}, (), None, "contains no items"),
    ],
)
def test_arrays_that_cannot_be_taken(
    arrays: dict[str, int], inputs: Any, target: str | None, said: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "t.npz", **{name: np.zeros(n) for name, n in arrays.items()})
    with pytest.raises(DataError, match=said):
        npz(tmp_path / "t.npz", inputs, target)


def test_an_array_without_a_name(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.zeros(3))
    (tmp_path / "t.npy").rename(tmp_path / "t.npz")
    with pytest.raises(DataError, match="a single unnamed array"):
        npz(tmp_path / "t.npz")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off"])
def test_a_damaged_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"t.npz: "):
        npz(tmp_path / "t.npz")
