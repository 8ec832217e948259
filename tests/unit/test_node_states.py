"""The Node's state machine, edge by edge: every verb and event in every state."""

import pytest

from hagane.baremetal import node_state
from hagane.baremetal.node_state import EDGES, FAILURE, LOCKED, STABLE, STATES, TARGET, VERBS, advance, possible

EDGE_COUNT = 93
WORDS = sorted({event for edges in EDGES.values() for event in edges} | set(VERBS))


def test_the_table_is_whole() -> None:
    assert sum(len(edges) for edges in EDGES.values()) == EDGE_COUNT
    assert {after for edges in EDGES.values() for after in edges.values()} <= set(EDGES)
    assert len(STATES) == 32
    assert STABLE | LOCKED | FAILURE | set(TARGET) <= STATES
    assert not STABLE & (LOCKED | FAILURE | set(TARGET))


@pytest.mark.parametrize("state", sorted(STATES))
@pytest.mark.parametrize("word", WORDS)
def test_each_word_in_each_state(state: str, word: str) -> None:
    event = VERBS.get(word, word)
    after = EDGES.get(state, {}).get(event)
    assert possible(state, word) == (after is not None)
    if after is None:
        with pytest.raises(KeyError):
            advance(state, word)
        return
    place = advance(state, word)
    assert place.state == after
    assert place.target == (None if after in STABLE else TARGET[after])


@pytest.mark.parametrize(
    ("state", "verb", "after", "target"),
    [
        ("enroll", "manage", "verifying", "manageable"),
        ("manageable", "provide", "cleaning", "available"),
        ("available", "active", "deploying", "active"),
        ("available", "deploy", "deploying", "active"),
        ("active", "deleted", "deleting", "available"),
        ("active", "undeploy", "deleting", "available"),
        ("active", "rebuild", "deploying", "active"),
        ("active", "rescue", "rescuing", "rescue"),
        ("rescue", "unrescue", "unrescuing", "active"),
        ("clean wait", "abort", "clean failed", "available"),
        ("wait call-back", "abort", "deploy failed", "active"),
        ("service failed", "abort", "active", None),
        ("clean failed", "manage", "manageable", None),
    ],
)
def test_the_known_ways(state: str, verb: str, after: str, target: str | None) -> None:
    assert advance(state, verb) == node_state.Place(after, target)


def test_manual_cleaning_leads_back_to_manageable() -> None:
    assert advance("manageable", "clean", "manageable") == node_state.Place("cleaning", "manageable")
    assert advance("cleaning", "manage") == node_state.Place("manageable", None)


def test_only_verbs_may_be_asked_for() -> None:
    assert {word for word in WORDS if node_state.is_verb(word)} == set(VERBS) | {"rebuild"}
    assert not node_state.is_verb("done")


def test_every_failure_has_a_way_out() -> None:
    for state in FAILURE | {"error"}:
        assert any(node_state.is_verb(event) or event in VERBS.values() for event in EDGES[state]), state


def test_every_wait_can_be_ended_by_a_user_or_fails() -> None:
    for state in node_state.WAITING.values():
        assert {"abort", "fail", "delete"} & set(EDGES[state]), state
