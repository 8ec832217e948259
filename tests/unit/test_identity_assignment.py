"""What assignments mean: groups, inheritance and implied roles, as pure functions."""

from hagane.identity.assignment_expand import Entry, World, expand

TREE = {"dom": ["p", "c"], "p": ["c"]}
ROLES = {"admin": ["member"], "member": ["reader"], "loop": ["pool"], "pool": ["loop"], "own": ["reader"]}
WORLD = World(members={"g": ["u", "v"]}, below=TREE, implied=ROLES, domain_roles=frozenset({"own"}))


def meaning(*entries: Entry) -> set[tuple[str, str, str]]:
    return {(entry.actor_id, entry.target_id, entry.role_id) for entry in expand(entries, WORLD)}


def test_a_role_stands_for_all_that_it_implies() -> None:
    assert meaning(Entry("user", "u", "project", "p", "admin")) == {
        ("u", "p", "admin"), ("u", "p", "member"), ("u", "p", "reader"),
    }  # fmt: skip


def test_roles_that_imply_each_other_end() -> None:
    assert meaning(Entry("user", "u", "project", "p", "loop")) == {("u", "p", "loop"), ("u", "p", "pool")}


def test_a_group_is_its_members() -> None:
    assert meaning(Entry("group", "g", "project", "p", "reader")) == {("u", "p", "reader"), ("v", "p", "reader")}
    assert meaning(Entry("group", "empty", "project", "p", "reader")) == set()


def test_an_inherited_role_holds_below_and_not_at_its_place() -> None:
    assert meaning(Entry("user", "u", "domain", "dom", "reader", inherited=True)) == {
        ("u", "p", "reader"), ("u", "c", "reader"),
    }  # fmt: skip
    assert meaning(Entry("user", "u", "project", "p", "reader", inherited=True)) == {("u", "c", "reader")}


def test_a_role_of_a_domain_shows_only_as_what_it_implies() -> None:
    assert meaning(Entry("user", "u", "project", "p", "own")) == {("u", "p", "reader")}


def test_an_expanded_entry_says_where_it_came_from() -> None:
    (found,) = [e for e in expand([Entry("group", "g", "domain", "dom", "member", inherited=True)], WORLD)
                if (e.actor_id, e.target_id, e.role_id) == ("u", "c", "reader")]  # fmt: skip
    assert (found.kind, found.via_group, found.via_kind, found.via_target, found.via_role) == (
        "project", "g", "domain", "dom", "member",
    )  # fmt: skip
