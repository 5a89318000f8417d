"""What one gate says about one act."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from autonomics.gates.refusal import NextStep, refusal_named


class Ruling(Enum):
    """The three answers of a gate."""

    PERMITS = "permits"
    REFUSES = "refuses"
    NOT_APPLICABLE = "not_applicable"


@frozen(kw_only=True)
class Verdict:
    """A gate's ruling with the evidence it rests on. A refusal has code, reason and next step."""

    gate: str
    ruling: Ruling
    code: str | None = None
    reason: str = ""
    evidence: tuple[str, ...] = ()
    next: NextStep | None = None

    @property
    def refuses(self) -> bool:
        """True if the act may not go on."""
        return self.ruling is Ruling.REFUSES

    @property
    def status(self) -> int | None:
        """Give the HTTP status of a refusal, else None."""
        return None if self.code is None else refusal_named(self.code).status

    def record(self) -> dict[str, object]:
        """Give the form that goes into receipts, digests and answers."""
        row: dict[str, object] = {
            "gate": self.gate,
            "ruling": self.ruling.value,
            "evidence": list(self.evidence),
        }
        if self.code is not None:
            row["code"] = self.code
            row["reason"] = self.reason
        if self.next is not None:
            row["next"] = self.next.record()
        return row


def permit(gate: str, *evidence: str) -> Verdict:
    """Let the act pass this gate."""
    return Verdict(gate=gate, ruling=Ruling.PERMITS, evidence=evidence)


def skip(gate: str, *evidence: str) -> Verdict:
    """Say that this gate has nothing to say about the act."""
    return Verdict(gate=gate, ruling=Ruling.NOT_APPLICABLE, evidence=evidence)


def refuse(
    gate: str,
    code: str,
    /,
    *,
    subject: str,
    verb: str = "act",
    evidence: tuple[str, ...] = (),
    step: str | None = None,
    **values: object,
) -> Verdict:
    """Refuse with a row of the catalogue: `<subject> may not <verb>: <rule>`.

    `step` replaces the catalogue's next step where the recipe knows better what to do.
    """
    row = refusal_named(code)
    next_step = row.next if step is None else NextStep(step=step, who=row.next.who)
    return Verdict(
        gate=gate,
        ruling=Ruling.REFUSES,
        code=code,
        reason=f"{subject} may not {verb}: {row.rule.format_map(values)}",
        evidence=evidence,
        next=next_step,
    )
