"""A quota: what may be used, what has been, and how far the limit may be raised."""

from __future__ import annotations

from attrs import evolve, field, frozen

from autonomics.errors import InvalidInput


def _check_count(_quota: object, attribute: object, value: int) -> None:
    if type(value) is not int or value < 0:
        name = getattr(attribute, "name", "value")
        raise InvalidInput.expected(f"quota {name}", "an integer >= 0", value)


@frozen(kw_only=True)
class Quota:
    """`used` of `limit`; `ceiling` is the highest limit that the price plan allows."""

    name: str
    limit: int = field(validator=_check_count)
    used: int = field(default=0, validator=_check_count)
    ceiling: int = field(validator=_check_count)

    def __attrs_post_init__(self) -> None:
        if not self.name:
            raise InvalidInput.expected("quota name", "not empty", self.name)
        if self.limit > self.ceiling:
            raise InvalidInput.expected(
                f"limit of quota {self.name}", f"<= its ceiling {self.ceiling}", self.limit
            )

    @property
    def is_exhausted(self) -> bool:
        """True once nothing is left; inclusive, so a limit of 0 permits nothing."""
        return self.used >= self.limit

    def has_reached(self, percent: int) -> bool:
        """Say whether usage stands at `percent` of the limit or above; inclusive, in integers."""
        return self.used * 100 >= self.limit * percent

    def use(self, amount: int = 1) -> Quota:
        """Count usage; raise InvalidInput where the limit would be passed."""
        if type(amount) is not int or amount < 0:
            raise InvalidInput.expected(f"amount of quota {self.name}", "an integer >= 0", amount)
        if self.used + amount > self.limit:
            raise InvalidInput.expected(
                f"use of quota {self.name}", f"<= {self.limit - self.used} more", amount
            )
        return evolve(self, used=self.used + amount)

    def raise_to(self, limit: int) -> Quota:
        """Raise the limit; never lower it here, never above the ceiling."""
        if type(limit) is not int or not self.limit <= limit <= self.ceiling:
            raise InvalidInput.expected(
                f"new limit of quota {self.name}", f"in {self.limit}..{self.ceiling}", limit
            )
        return evolve(self, limit=limit)

    def restore_to(self, limit: int) -> Quota:
        """Put back an earlier limit, as a rollback does; what has been used stays used."""
        if type(limit) is not int or not 0 <= limit <= self.ceiling:
            raise InvalidInput.expected(
                f"restored limit of quota {self.name}", f"in 0..{self.ceiling}", limit
            )
        return evolve(self, limit=limit)
