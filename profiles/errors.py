"""The error of everything that a user gave and that cannot be used, and of decisions that cannot be made."""

from __future__ import annotations

__all__ = ["ProfileError"]


def __dir__() -> list[str]:
    return __all__


class ProfileError(ValueError):
    """A file, model, option or decision cannot be had: what, where (`at`), got against expected, next step (`fix`)."""

    def __init__(self, message: str, *, at: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.message]
        if self.at is not None:
            lines.append(f"  at    {self.at}")
        if self.fix is not None:
            lines.append(f"  fix   {self.fix}")
        return "\n".join(lines)
