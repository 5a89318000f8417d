"""How much the HTTP door takes, and how long it waits."""

from __future__ import annotations

import attrs

from autonomics.tenancy.sign_up import SignUpVerifier


@attrs.frozen(kw_only=True)
class DoorSettings:
    """Bounds of one server.

    `trust_tenant_attribute` lets a push from this machine name its tenant by an attribute; it is
    for `demo` alone. `sign_up` verifies what comes from the marketplace; without it nobody can
    sign up. `hosts` are names that the server goes by beside those of this machine, for `/mcp`; an
    address that stands for all (0.0.0.0, ::) lets any name pass. `decision_wait_s` is what a caller
    of `/v1/signals` waits for a decision.
    """

    body_limit_bytes: int = attrs.field(default=1024 * 1024, validator=attrs.validators.ge(1))
    body_depth: int = attrs.field(default=64, validator=attrs.validators.in_(range(1, 513)))
    body_timeout_s: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))
    decision_wait_s: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))
    answer_timeout_s: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    send_timeout_s: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))
    requests_in_flight: int = attrs.field(default=512, validator=attrs.validators.ge(1))
    page_limit: int = attrs.field(default=1000, validator=attrs.validators.ge(1))
    page_default: int = attrs.field(default=100, validator=attrs.validators.ge(1))
    trust_tenant_attribute: bool = False
    hosts: tuple[str, ...] = ()
    sign_up: SignUpVerifier | None = attrs.field(default=None, repr=False)
