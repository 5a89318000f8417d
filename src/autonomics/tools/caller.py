"""Who calls a tool, and for which tenant."""

from __future__ import annotations

import attrs

from autonomics.actors.message import Principal
from autonomics.errors import DoorRefused


@attrs.frozen
class Caller:
    """The authenticated principal, and the tenant that it asks for.

    `tenant_id` is the key's own tenant, or the one that an operator has named at the door; no
    argument of a tool ever names one. None: an operator or administrator who named none.
    """

    principal: Principal
    tenant_id: str | None

    def expect_tenant(self) -> str:
        """Return the tenant; DoorRefused where there is none."""
        if self.tenant_id is None:
            raise DoorRefused(
                f"a caller of role {self.principal.role} has to name the tenant it asks for",
                "tenant_not_named",
            )
        return self.tenant_id
