"""A customer's sign-up at a marketplace: who vouches for it, and which tenant it makes."""

from __future__ import annotations

import hashlib
import re
from typing import Final, Protocol

from attrs import field, frozen

from autonomics.errors import InvalidInput

GOOGLE: Final = "gcp"
MAX_ACCOUNT: Final = 128
_ACCOUNT: Final = re.compile(rf"[\x21-\x7e]{{1,{MAX_ACCOUNT}}}")
_DIGITS: Final = 32


def _check_id(_account: object, _attribute: object, value: str) -> None:
    if _ACCOUNT.fullmatch(value) is None:
        raise InvalidInput.expected(
            "procurement account id", f"1 to {MAX_ACCOUNT} visible ASCII characters", value
        )


@frozen
class Account:
    """A customer as Google's procurement names it; its messages name it so too."""

    id: str = field(validator=_check_id)
    marketplace: str = GOOGLE

    @property
    def tenant_id(self) -> str:
        """The tenant that the account is: `gcp-` and 32 hex digits of SHA-256 over both names.

        The account's own letters are not all fit for a tenant's id, and replacing some could make
        one tenant of two accounts. The account stands in the tenant's receipt.
        """
        digest = hashlib.sha256(f"{self.marketplace}\0{self.id}".encode()).hexdigest()
        return f"{self.marketplace}-{digest[:_DIGITS]}"


class SignUpVerifier(Protocol):
    """Says for whom a sign-up token speaks."""

    def verify(self, token: str) -> Account:
        """Return the account; TokenRefused with one word for why not."""
        ...
