from __future__ import annotations

from autonomics.cli.tree import describe, draw

from .conftest import Shell


def test_the_tree_is_drawn_and_is_one_json_value(house: Shell) -> None:
    root = house.value("tree")
    assert root["id"] == "root"
    out = house.say("tree")
    assert out.startswith("root  (supervisor: running)\n")
    assert "├─ ledger  (supervisor: running)" in out
    assert "└─ ingress  (supervisor: running)" in out


def test_one_actor_of_the_tree_is_shown_closely(house: Shell) -> None:
    path = "root/control/tenants/router"
    assert house.value("tree", path)["path"] == path
    out = house.say("tree", path)
    assert out.startswith(
        f"path: {path}\nname: tenants.router\nkind: actor\ntype: Router\nstate: running\n"
    )
    assert "mailbox: depth 0, " in out
    assert "stop_asked" not in out
    assert "\nstack, the innermost last:\n  /" in out


def test_an_actor_that_is_not_there_is_said_to_be_none(house: Shell) -> None:
    code, out, err = house.on_data("tree", "root/nobody")
    assert (code, out) == (1, "")
    assert "there is no actor at 'root/nobody'" in err


def test_a_status_is_told_by_what_there_is_to_tell() -> None:
    status = {
        "path": "a",
        "name": None,
        "suspended": False,
        "in_hand": {"kind": "call", "message": "Get", "client": None},
        "waits_for": ["b", "c"],
        "links": [],
        "stack": ["x.py:1 run"],
        "detail": {"count": 3},
    }
    assert list(describe(status)) == [
        "path: a",
        "in_hand: kind call, message Get",
        "waits_for: b, c",
        "detail: count 3",
        "stack, the innermost last:",
        "  x.py:1 run",
    ]


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
