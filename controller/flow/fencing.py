"""Only one reconciler acts: whoever holds the lease, named by an epoch that never comes back."""

from __future__ import annotations

from dataclasses import dataclass

from controller.flow.ports.work import Store, Work

LEASE = "reconciler"
LEASE_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Proof of a lease at one moment; every writing transaction checks that it is still the newest.

    A holder that slept through the end of its lease finds a higher epoch and is refused (I8).
    """

    holder: str
    epoch: int

    def check(self, work: Work) -> None:
        """Refuse to go on once somebody else has taken the lease.

        Raises
        ------
        LeaseLost
            If holder and epoch are no longer the stored ones.
        """
        work.leases.check(LEASE, self.holder, self.epoch)


def take_lease(store: Store, holder: str, *, seconds: float = LEASE_SECONDS) -> Fence | None:
    """Take or renew the reconciler's lease; None where another process holds it."""
    with store.writing() as work:
        epoch = work.leases.take(LEASE, holder, now=work.now, seconds=seconds)
    return None if epoch is None else Fence(holder=holder, epoch=epoch)
