"""Who leads."""


class Alone:
    """The elector of a process that has no other beside it; fits ``protocols.Elector``."""

    def leads(self) -> bool:
        """Always."""
        return True
