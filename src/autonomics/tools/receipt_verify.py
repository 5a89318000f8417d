"""`receipt_verify`: hold a receipt to its proof, as anybody can offline."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import Field, model_validator

from autonomics.actors.control_plane import ControlPlane
from autonomics.actors.message import PLATFORM
from autonomics.errors import DoorRefused
from autonomics.receipts import verify
from autonomics.tools.caller import Caller
from autonomics.tools.refusal import Refusal, refuse
from autonomics.tools.tool import Arguments, Gives, Tool

_RECEIPT_ID: Final = re.compile(r"([a-z0-9][a-z0-9._~-]{0,254})\.([0-9]{1,15})")
_IS_GOOD: Final = (verify.WITNESSED, verify.CONSISTENT)


class VerifyQuestion(Arguments):
    """The id of a receipt here, or the text of a proof; with a key of one's own, or without."""

    receipt: Annotated[str, Field(min_length=3, max_length=300)] | None = Field(
        default=None, description="Id of a receipt of the caller's tenant, as <log>.<seq>."
    )
    proof: Annotated[str, Field(min_length=1, max_length=1_000_000)] | None = Field(
        default=None, description="Text of a C2SP tlog-proof, in place of a receipt's id."
    )
    vkey: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        default=None,
        description=(
            "The log's C2SP verifier key, from a source that you trust. Without it a receipt is"
            " held to the key that this server says is the log's, and a proof to none."
        ),
    )

    @model_validator(mode="after")
    def _expect_one(self) -> VerifyQuestion:
        if (self.receipt is None) == (self.proof is None):
            given = "both" if self.receipt is not None else "neither"
            raise ValueError(f"expected one of receipt and proof to be given, got {given}")
        return self


class VerifyAnswer(Gives):
    """A verdict; `code` is the exit code that `autonomics verify` would end with."""

    verified: bool = Field(description="True for the verdicts witnessed and consistent alone.")
    verdict: str = Field(
        description=(
            "witnessed 0, consistent 10, unanchored 20 (no key was given), diverged 30,"
            " invalid 40, stale 50."
        )
    )
    code: int
    reason: str
    checks: tuple[str, ...] = Field(
        description="What is checked, in this order; an invalid proof fails at one of them."
    )
    key: str = Field(description="Whose key it was held to: yours, the server's, or none.")
    receipt: str | None = Field(description="The id that was asked for.")
    seq: int | None = Field(description="Sequence number at fault, where it can be located.")
    log: str | None = Field(description="Origin of the log.")
    tree_size: int | None = Field(description="Size of the tree that the checkpoint covers.")
    warnings: tuple[str, ...]


async def verify_receipt(
    control: ControlPlane, caller: Caller, question: VerifyQuestion
) -> VerifyAnswer | Refusal:
    """Verify with the one verifier there is; a proof of the caller's own is all that it reads."""
    if question.proof is not None:
        proof, vkey, key = question.proof.encode(errors="replace"), question.vkey, "yours"
    else:
        assert question.receipt is not None  # the arguments were held to that
        log_owner = await _find_owner(control, caller, question.receipt)
        proof = await control.proof(question.receipt)
        vkey, key = question.vkey, "yours"
        if vkey is None:
            vkey, key = await control.verifier_key(log_owner), "the server's"
    try:
        trust = verify.gather_trust(() if vkey is None else (vkey,), None)
    except verify.Unusable as error:
        return refuse("invalid_arguments", f"expected vkey to be a C2SP verifier key: {error}")
    verdict = verify.verify_proof(proof, trust)
    return VerifyAnswer(
        verified=verdict.code in _IS_GOOD,
        verdict=verdict.name,
        code=verdict.code,
        reason=verdict.reason,
        checks=_name_checks(has_key=vkey is not None),
        key="none" if vkey is None else key,
        receipt=question.receipt,
        seq=verdict.seq,
        log=verdict.origin,
        tree_size=verdict.size if verdict.origin is not None else None,
        warnings=verdict.warnings,
    )


async def _find_owner(control: ControlPlane, caller: Caller, receipt_id: str) -> str:
    """Return whose log it is in; what is another tenant's is as unknown as what is not there."""
    found = _RECEIPT_ID.fullmatch(receipt_id)
    log = found[1] if found else ""
    if log == PLATFORM and caller.tenant_id is None:
        owner = PLATFORM
    else:
        owner = caller.expect_tenant()
        view = await control.tenant(owner)
        if view is None or view.handle != log:
            raise _unknown(receipt_id)
    if await control.receipt(receipt_id) is None:
        raise _unknown(receipt_id)
    return owner


def _unknown(receipt_id: str) -> DoorRefused:
    return DoorRefused(f"there is no receipt {receipt_id[:80]!a}", "unknown_receipt")


def _name_checks(*, has_key: bool) -> tuple[str, ...]:
    return (
        "form of proof and checkpoint",
        *(("Ed25519 signature of the checkpoint",) if has_key else ()),
        "form of the receipt and its place in the log",
        "inclusion of the receipt's hash in the tree (RFC 6962)",
        "payload against the commitment in the receipt",
    )


TOOL = Tool(
    name="receipt_verify",
    title="Verify a receipt",
    about=(
        "Verify that a receipt stands unchanged in its log: its hash, its inclusion in the tree,"
        " the checkpoint's signature and the payload's commitment. Give the id of a receipt of the"
        " caller's tenant, or the text of a proof from anywhere with the log's verifier key. A"
        " proof that was tampered with is answered with verified: false and the reason."
    ),
    takes=VerifyQuestion,
    gives=VerifyAnswer,
    answer=verify_receipt,
)
