"""Edits in the text of a file: what is certain is changed there alone, all else is refused."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saldiag.core.findings.edit import Edit
from saldiag.core.measurement import Source
from saldiag.repair.edits import _verify_tree, apply_edits
from saldiag.repair.errors import Uncertain
from saldiag.repair.source import PythonFile

HEAD = "import keras\nfrom keras import layers\nimport tensorflow as tf\n"
LINE = 4
"""The first line behind ``HEAD``."""


def edit(call="Dense", argument="activation", old="softmax", new='"sigmoid"', **fields) -> Edit:
    line = fields.pop("line", LINE)
    return Edit(Source("train.py", line), call, argument, old, new, **fields)


def after(code: str, *edits: Edit, head: str = HEAD) -> str:
    """The code without its head, after the edits."""
    text = apply_edits((head + code).encode(), edits or (edit(),)).decode()
    assert text.startswith(head)
    return text[len(head) :]


RATE = edit("Adam", "learning_rate", 1e-9, "0.001", within="optimizer")
LOGITS = edit("BinaryCrossentropy", "from_logits", False, "True", within="loss")
LOSS = edit("compile", "loss", "mean_squared_error", '"sparse_categorical_crossentropy"')
WIDE = edit(argument="dtype", old=None, new='"float32"')


DOUBLE, SINGLE = ('"softmax"', '"sigmoid"'), ("'softmax'", "'sigmoid'")


@pytest.mark.parametrize(
    ("code", "literal"),
    [
        ("h = layers.Dense(1, activation=@)(x)", DOUBLE),
        ("layers.Dense(1, activation=@)", SINGLE),
        ("keras.layers.Dense(1, @)", SINGLE),
        ("tf.keras.layers.Dense(1, @)", ("r'softmax'", "'sigmoid'")),
        ("layers.Dense(1, @)", ('"soft" "max"', '"sigmoid"')),
        ("layers.Dense(1, activation=(@))", DOUBLE),
        ("layers.Dense( activation = @ , units=1)", DOUBLE),
        ("layers.Dense(1, activation=@)", ("tf.nn.softmax", '"sigmoid"')),
        ("layers.Dense(1, activation=@)", ("keras.activations.softmax", '"sigmoid"')),
        ("layers.Dense(1, activation=@, **more)", DOUBLE),
        ('é = "ü€😀"; layers.Dense(1, @)(é)', DOUBLE),
        ("layers.Dense(\n\t1,\n\tactivation=@,  # note\n)", DOUBLE),
        ("layers.Dense(1, @)(layers.Conv2D(1, 3, activation='softmax')(x))", DOUBLE),
        ('s = f"{x}"; layers.Dense(1, @)', DOUBLE),
        ("layers.Dense(1, \\\n  activation=@)", DOUBLE),
    ],
)
def test_a_literal_is_replaced_as_it_is_written(code: str, literal: tuple[str, str]) -> None:
    before, wanted = (code.replace("@", text) for text in literal)
    assert after(before) == wanted


def test_the_line_is_that_of_the_name_where_a_chain_goes_over_several() -> None:
    code = "(layers\n .Dense(1, 'softmax'))"
    assert after(code, edit(line=LINE + 1)) == code.replace("softmax", "sigmoid")


@pytest.mark.parametrize(
    "imported",
    [
        "from keras.layers import Dense as D",
        "from tensorflow.keras.layers import Dense as D",
        "import tensorflow.keras.layers as L; D = L.Dense",
        "import keras.layers; D = keras.layers.Dense",
        "from keras import layers as L\nD = L.Dense",
        "try:\n    from keras.layers import Dense as D\n"
        "except ImportError:\n    from tensorflow.keras.layers import Dense as D",
    ],
)
def test_a_class_is_known_by_whatever_it_is_imported_as(imported: str) -> None:
    head = imported + "\n"
    place = edit(line=head.count("\n") + 1)
    assert after('D(1, "softmax")', place, head=head) == 'D(1, "sigmoid")'


def test_a_star_brings_keras_names_too() -> None:
    assert after('Dense(1, "softmax")', edit(line=2), head="from keras.layers import *\n")


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        ("layers.Dense(1)", 'layers.Dense(1, dtype="float32")'),
        ("layers.Dense(1, )", 'layers.Dense(1, dtype="float32", )'),
        ("layers.Dense((1))", 'layers.Dense((1), dtype="float32")'),
        ("layers.Dense(units=((1)) )", 'layers.Dense(units=((1)), dtype="float32" )'),
        ("layers.Dense(1  # one )\n)", 'layers.Dense(1, dtype="float32"  # one )\n)'),
        ("layers.Dense(\n    units=1,  # (one,\n)",
         'layers.Dense(\n    units=1,  # (one,\n    dtype="float32",\n)'),
        ("layers.Dense(\n    units=1\n)", 'layers.Dense(\n    units=1,\n    dtype="float32"\n)'),
        ("layers.Dense(\n    units=1,\n    name='a' )",
         "layers.Dense(\n    units=1,\n    name='a',\n    dtype=\"float32\" )"),
        ("layers.Dense(\n    1\n    ,\n)", 'layers.Dense(\n    1\n    ,\n    dtype="float32",\n)'),
        ("layers.Dense(\n    units=1  # one\n)",
         'layers.Dense(\n    units=1, dtype="float32"  # one\n)'),
        ("layers.Dense(1, name=f'{1}(')", "layers.Dense(1, name=f'{1}(', dtype=\"float32\")"),
    ],
)  # fmt: skip
def test_an_argument_is_added_behind_the_last(before: str, wanted: str) -> None:
    assert after(before, WIDE) == wanted


def test_a_call_without_arguments_gets_its_first() -> None:
    place = edit("Adam", "learning_rate", 1e-3, "0.1", within="optimizer")
    before = "model.compile(keras.optimizers.Adam(  # (plain)\n), 'mse')"
    wanted = "model.compile(keras.optimizers.Adam(learning_rate=0.1  # (plain)\n), 'mse')"
    assert after(before, place) == wanted


@pytest.mark.parametrize(
    ("before", "wanted", "change"),
    [
        ("m.compile(keras.optimizers.Adam(1e-9))", "m.compile(keras.optimizers.Adam(0.001))", RATE),
        ("m.compile(optimizer=tf.keras.optimizers.Adam(learning_rate=0.000_000_001), loss='mse')",
         "m.compile(optimizer=tf.keras.optimizers.Adam(learning_rate=0.001), loss='mse')", RATE),
        ("m.compile('adam', 'bce')",
         "m.compile('adam', keras.losses.BinaryCrossentropy(from_logits=True))", LOGITS),
        ("m.compile('adam', keras.losses.binary_crossentropy)",
         "m.compile('adam', keras.losses.BinaryCrossentropy(from_logits=True))", LOGITS),
        ("m.compile(loss=keras.losses.BinaryCrossentropy())",
         "m.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))", LOGITS),
        ("m.compile(loss=keras.losses.BinaryCrossentropy(name='b', from_logits=False))",
         "m.compile(loss=keras.losses.BinaryCrossentropy(name='b', from_logits=True))", LOGITS),
        ("m.compile('sgd', 'MSE')", "m.compile('sgd', 'sparse_categorical_crossentropy')", LOSS),
        ("m.compile(loss=keras.losses.MeanSquaredError())",
         'm.compile(loss="sparse_categorical_crossentropy")', LOSS),
    ],
)  # fmt: skip
def test_what_compile_is_given_is_changed(before: str, wanted: str, change: Edit) -> None:
    assert after(before, change) == wanted


def test_a_loss_or_optimizer_with_a_name_of_its_own_is_followed() -> None:
    code = "opt = keras.optimizers.Adam(1e-9)\nm.compile(optimizer=opt, loss='mse')\n"
    assert after(
        code, edit("Adam", "learning_rate", 1e-9, "0.001", within="optimizer", line=5)
    ) == (code.replace("1e-9", "0.001"))


def test_keras_is_written_as_the_file_writes_it() -> None:
    code = "m.compile(loss='bce')"
    place = edit("BinaryCrossentropy", "from_logits", False, "True", within="loss", line=2)
    assert after(code, place, head="import tensorflow as t\n") == (
        "m.compile(loss=t.keras.losses.BinaryCrossentropy(from_logits=True))"
    )
    with pytest.raises(Uncertain, match="does not import keras"):
        after(code, place, head="from model import m\n")


@pytest.mark.parametrize(
    ("code", "change", "reason"),
    [
        ("layers.Dense(1, activation=head)", edit(), "not written as 'softmax'"),
        ("layers.Dense(1, activation=f'softmax')", edit(), "not written as"),
        ("layers.Dense(1, activation='soft' + 'max')", edit(), "not written as"),
        ("layers.Dense(1, activation='softmax' if x else None)", edit(), "not written as"),
        ("layers.Dense(1, activation=lambda x: x)", edit(), "not written as"),
        ("layers.Dense(1, activation='relu')", edit(), "not written as"),
        ("layers.Dense(1, activation=tf.nn.sigmoid)", edit(), "not written as"),
        ("layers.Dense(1)", edit(), "calls Dense without activation"),
        ("layers.Dense(*sizes, 'softmax')", edit(), r"Dense\(\*…\) may contain"),
        ("layers.Dense(1, **options)", edit(), "may contain"),
        ("layers.Dense(1, **options)", WIDE, "may contain"),
        ("layers.Dense(1, 'softmax'); layers.Dense(2, 'softmax')", edit(), "2 calls"),
        ("build(1, 'softmax')", edit(), "no call of Dense"),
        ("layers.Conv2D(1, 3, activation='softmax')", edit(), "no call of Dense"),
        ("mine.Dense(1, 'softmax')", edit(), "not known to be part of"),
        ("layers = mine\nlayers.Dense(1, 'softmax')", edit(line=5), "not known to be part of"),
        ("def f(layers):\n  layers.Dense(1, 'softmax')", edit(line=5), "not known to be part of"),
        ("class Dense(keras.layers.Dense): ...\nDense(1, 'softmax')", edit(line=5), "not known"),
        ("from mine import Dense\nDense(1, 'softmax')", edit(line=5), "not known to be part of"),
        ("layers.Dense(1, ('soft'\n  'max'))", edit(), "several lines"),
        ("layers.Head(1, 'softmax')", edit("Head"), "does not know the arguments of Head"),
        ("m.compile('adam')", RATE, "not written as Adam"),
        ("m.compile(optimizer)", RATE, "not written as Adam"),
        ("m.compile(keras.optimizers.Adam(rate))", RATE, "not written as"),
        ("m.compile(keras.optimizers.Adam(lr=1e-9))", RATE, "calls Adam without learning_rate"),
        ("m.compile(keras.optimizers.SGD(1e-9))", RATE, "not written as Adam"),
        ("m.compile()", RATE, "called without optimizer"),
        ("m.compile(**given)", RATE, "may contain"),
        ("m.compile(loss=['mse', 'mse'])", LOSS, "not written as"),
        ("m.compile(loss=keras.losses.MeanSquaredError(name='a'))", LOSS, "not written as"),
        ("for a in b:\n  opt = keras.optimizers.Adam(1e-9)\nopt.x\nm.compile(opt)",
         edit("Adam", "learning_rate", 1e-9, "1", within="optimizer", line=7), "not written as"),
        ("layers.Dense(1, 'softmax'", edit(), "valid Python"),
        ("layers.Dense(1, 'softmax')", edit(new="evil()"), "not a literal"),
        ("layers.Dense(1, 'softmax')", edit(new="1), evil("), "valid Python"),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_refused_with_the_reason(
    code: str, change: Edit, reason: str
) -> None:
    with pytest.raises(Uncertain, match=reason):
        after(code, change)


def test_a_line_other_than_the_one_that_ran_is_refused() -> None:
    place = Edit(Source("a.py", 4, "x = 1"), "Dense", "activation", "softmax", '"sigmoid"')
    with pytest.raises(Uncertain, match="differs from the one that ran"):
        after("layers.Dense(1, 'softmax')", place)


def test_two_edits_of_one_place_are_refused_and_the_same_one_twice_is_one() -> None:
    code = "layers.Dense(1, 'softmax')"
    assert after(code, edit(), edit()) == "layers.Dense(1, 'sigmoid')"
    with pytest.raises(Uncertain, match="two edits overlap"):
        after(code, edit(), edit(new="None"))


def test_several_edits_are_made_at_once() -> None:
    code = "a = layers.Dense(1, 'softmax')\nm.compile(keras.optimizers.Adam(1e-9), 'bce')\n"
    line = {"line": 5}
    changes = [
        edit(), edit(argument="dtype", old=None, new='"float32"'),
        edit("Adam", "learning_rate", 1e-9, "0.001", within="optimizer", **line),
        edit("BinaryCrossentropy", "from_logits", False, "True", within="loss", **line),
    ]  # fmt: skip
    assert after(code, *changes) == (
        "a = layers.Dense(1, 'sigmoid', dtype=\"float32\")\n"
        "m.compile(keras.optimizers.Adam(0.001), "
        "keras.losses.BinaryCrossentropy(from_logits=True))\n"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("encoding", "cookie"),
    [("utf-8", ""), ("utf-8-sig", ""), ("latin-1", "# -*- coding: latin-1 -*-"),
     ("cp1252", "# vim: set fileencoding=cp1252 :"), ("shift_jis", "# coding: shift_jis")],
)  # fmt: skip
def test_bytes_stay_as_they_are(encoding: str, cookie: str, end: str) -> None:
    word = "日本" if encoding == "shift_jis" else "é"
    lines = [cookie, "import keras", f'{word} = "{word}"; y = keras.layers.Dense(1, "softmax")', ""]
    before = end.join(lines).encode(encoding)
    if cookie and end == "\r":  # Python reads the whole as one comment
        with pytest.raises(Uncertain, match="valid Python"):
            apply_edits(before, [edit(line=3)])
        return
    found = apply_edits(before, [edit(line=3)])
    assert found == before.replace(b'"softmax"', b'"sigmoid"')


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_added_line_ends_as_the_others_do(end: str) -> None:
    code = end.join(["import keras", "keras.layers.Dense(", "    1,", ")", ""]).encode()
    found = apply_edits(code, [edit(argument="dtype", old=None, new='"float32"', line=2)])
    assert found == code.replace(f"1,{end}".encode(), f'1,{end}    dtype="float32",{end}'.encode())


def test_line_ends_within_a_string_are_no_lines() -> None:
    code = 'a = "\u2028\x0c\x85"\x0c; layers.Dense(1, "softmax")'
    assert after(code) == code.replace("softmax", "sigmoid")


SPACE = st.sampled_from(["", " ", "  ", "\n", "\n\t", " # a ( , ' \n", "\\\n", "\r\n  "])
WORD = st.sampled_from(["'softmax'", '"softmax"', "'''softmax'''", 'R"softmax"', '("softmax")'])
OTHER = ["name='ü,('", "use_bias=False", "dtype=None", "bias_initializer=f({1: (2,)})"]
OTHERS = st.lists(st.sampled_from(OTHER), unique=True, max_size=3)


@given(SPACE, SPACE, SPACE, WORD, OTHERS, st.integers(0, 3), st.booleans())
def test_only_the_span_changes_however_the_call_is_written(
    one: str, two: str, three: str, word: str, others: list[str], at: int, comma: bool
) -> None:
    given_ = [*others[:at], f"activation{one}={two}{word}", *others[at:]]
    code = f"é = layers.Dense({three}1, {f', {one}'.join(given_)}{',' * comma}{three})(é)\n"
    try:
        ast.parse(HEAD + code)
    except SyntaxError:
        return
    found = after(code)
    inner = word.strip("()")
    quote = "'" if inner.startswith("'") else '"'
    assert found == code.replace(inner, f"{quote}sigmoid{quote}")


@given(SPACE, SPACE, OTHERS, st.booleans())
def test_an_argument_is_added_however_the_call_is_written(
    one: str, two: str, others: list[str], comma: bool
) -> None:
    given_ = ["1", *(other for other in others if not other.startswith("dtype"))]
    code = f"é = layers.Dense({one}{f',{two}'.join(given_)}{two}{',' * comma}{one})(é)\n"
    try:
        ast.parse(HEAD + code)
    except SyntaxError:
        return
    found = after(code, WIDE)
    call = ast.parse(HEAD + found).body[-1].value.func
    assert ast.unparse(call.keywords[-1]) == "dtype='float32'"
    kept = found.replace('dtype="float32"', "", 1)
    assert "".join(kept.replace(",", "").split()) == "".join(code.replace(",", "").split())


@pytest.mark.parametrize(("text", "reason"), [("f(2)\n", "more than"), ("f(\n", "valid Python")])
def test_a_text_that_is_not_the_tree_is_never_given_away(text: str, reason: str) -> None:
    with pytest.raises(Uncertain, match=reason):
        _verify_tree(PythonFile.from_bytes(b"f(1)\n"), text, [])
