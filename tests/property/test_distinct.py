"""The different ones of some whole numbers are those that NumPy finds, of any width and shape."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from zcube.arrays import distinct

whole = st.sampled_from([np.int8, np.uint8, np.int32, np.int64, np.uint64])
numbers = whole.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(max_dims=2, min_side=0, max_side=30)))


@given(numbers)
def test_they_are_those_of_numpy_in_the_same_order(values):
    found = distinct(values)
    assert found.dtype == values.dtype
    assert found.tolist() == np.unique(values).tolist()
