from hypothesis import given
from hypothesis import strategies as st

from splitpoint.planner.output.plot import bar, scatter

points = st.lists(
    st.tuples(st.floats(1e-4, 10), st.one_of(st.just(0.0), st.floats(1, 1e9)), st.sampled_from(["1", "12", "3*"])),
    min_size=1,
    max_size=12,
)


@given(points, st.one_of(st.none(), st.floats(1e-3, 10)))
def test_every_line_fits_the_terminal(rows, deadline_s):
    lines = scatter(rows, deadline_s=deadline_s, width=80)
    assert bool(lines) == (len(rows) > 1)
    assert max(map(len, lines), default=0) <= 80
    assert (deadline_s is None) or not lines or "deadline" in lines[-1]


def test_smaller_payload_is_lower_and_later_is_to_the_right():
    lines = scatter([(0.01, 100.0, "P"), (0.05, 10_000.0, "Q"), (0.1, 0.0, "R")], deadline_s=None)
    where = {mark: (y, line.index(mark)) for y, line in enumerate(lines[:-3]) for mark in "PQR" if mark in line[11:]}
    assert where["Q"][0] < where["P"][0] < where["R"][0]
    assert where["P"][1] < where["Q"][1] < where["R"][1]


def test_bar_is_as_long_as_its_share():
    assert bar(0.0) == " " * 10
    assert bar(1.0) == "█" * 10
    assert bar(0.5) == "█████     "
