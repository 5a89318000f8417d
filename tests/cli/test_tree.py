from __future__ import annotations

from autonomics.cli.tree import draw

from .conftest import Shell


def test_the_tree_is_drawn_and_is_one_json_value(house: Shell) -> None:
    root = house.value("tree")
    assert root["id"] == "root"
    out = house.say("tree")
    assert out.startswith("root  (supervisor: running)\n")
    assert "├─ ledger  (supervisor: running)" in out
    assert "└─ ingress  (supervisor: running)" in out


def test_a_command_without_a_server_blames_no_tenant_for_its_end(new_house: Shell) -> None:
    new_house.say("tenants", "create", "acme")
    for _ in range(3):
        new_house.say("tree")
    assert "quarantined" not in new_house.say("receipts", "platform")


Row = dict[str, object]


def node(id_: str, *children: Row, **fields: object) -> Row:
    plain = {"kind": "actor", "state": "running", "restarts": 0, "mailbox_depth": 0}
    return {
        "id": id_,
        **plain,
        "held": False,
        "last_exit": None,
        "children": list(children),
        **fields,
    }


def test_each_child_stands_below_its_parent() -> None:
    tree = node("a", node("b", node("c"), node("d")), node("e"))
    assert [line.partition("  (")[0] for line in draw(tree)] == [
        "a",
        "├─ b",
        "│  ├─ c",
        "│  └─ d",
        "└─ e",
    ]


def test_what_is_out_of_the_ordinary_is_noted() -> None:
    odd = node("x", restarts=2, mailbox_depth=3, held=True, last_exit="Crash(ValueError())")
    assert list(draw(odd)) == [
        "x  (actor: running, restarts 2, mailbox 3, held, last exit Crash(ValueError()))"
    ]
