from __future__ import annotations

import io

from autonomics.supervisors import TreeNode
from autonomics.testing.demo_view import View, Watcher, draw_tree, summarize

GOVERNOR = TreeNode("governor", "r/pool/a/governor", "actor", "running", detail={"state": "stable"})
TENANT = TreeNode("a", "r/pool/a", "supervisor", "running", children=(GOVERNOR,))
POOL = TreeNode("pool", "r/pool", "supervisor", "running", children=(TENANT,))
ROOT = TreeNode("r", "r", "supervisor", "running", restarts=2, children=(POOL,))


def test_a_tree_is_drawn_with_what_its_actors_say() -> None:
    assert draw_tree(ROOT) == [
        "r  (restarts 2)",
        "  pool",
        "    a",
        "      governor  (state stable)",
    ]


def test_what_is_folded_is_one_line_a_child() -> None:
    assert draw_tree(ROOT, fold_below="pool") == [
        "r  (restarts 2)",
        "  pool",
        "    a  governor  (state stable)",
    ]


def test_a_summary_takes_the_ranks_of_its_values() -> None:
    assert summarize([3.0, 1.0, 2.0]) == {"mean": 2.0, "p50": 2.0, "p99": 3.0}
    assert summarize([]) == {"mean": 0.0, "p50": 0.0, "p99": 0.0}


def test_without_a_terminal_each_thing_is_said_once() -> None:
    stream, watcher = io.StringIO(), Watcher()
    view = View(stream, watcher, is_live=False)
    watcher.say("killed somebody")
    view.show(ROOT, sent=1, total=2, receipts=3)
    view.show(ROOT, sent=2, total=2, receipts=4)
    text = stream.getvalue()
    assert text.count("killed somebody") == 1
    assert "sent 2/2" in text
    assert "\x1b" not in text
