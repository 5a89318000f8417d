from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.config import SETTINGS
from autonomics.errors import InvalidInput
from autonomics.tenancy import Tenant
from autonomics.tenancy.sign_up import Account

PAGE = Path(__file__).resolve().parents[2] / "docs" / "marketplace.md"
ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)


def test_an_accounts_tenant_is_always_the_same() -> None:
    account = Account("E-1234-5678-9ABC-DEF0")
    assert account.marketplace == "gcp"
    assert account.tenant_id == "gcp-d455ff2f041bb5f1be5274e97659ebc4"
    assert account.tenant_id == Account("E-1234-5678-9ABC-DEF0").tenant_id


@given(one=ids, other=ids)
def test_every_account_has_a_lawful_tenant_id_of_its_own(one: str, other: str) -> None:
    first, second = Account(one), Account(other)
    assert (first.tenant_id == second.tenant_id) is (one == other)
    tenant = Tenant(id=first.tenant_id, handle="0" * 16, display_name="any")
    assert tenant.id.startswith("gcp-")


def test_names_are_kept_apart_between_marketplaces() -> None:
    assert Account("a", "gcp").tenant_id[4:] != Account("a", "aws").tenant_id[4:]


@pytest.mark.parametrize("text", ["", " ", "a b", "a\n", "ä", "a" * 129, "\x7f"])
def test_an_account_id_is_visible_ascii_of_bounded_length(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected procurement account id to be 1 to 128"):
        Account(text)


def test_the_page_derives_the_id_with_other_peoples_tools() -> None:
    command, line = re.findall(r"```console\n\$ (.+)\n(.+)\n```", PAGE.read_text("utf-8"))[0]
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == f"{line}\n"
    assert Account("E-1234-5678-9ABC-DEF0").tenant_id == f"gcp-{line}"


def test_the_page_lists_the_settings() -> None:
    rows = re.findall(r"^\| `(marketplace_\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == [row.name for row in SETTINGS if row.name.startswith("marketplace_")]
