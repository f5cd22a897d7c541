"""What the demo prints."""

from dataclasses import dataclass, field

from rich.console import Console


@dataclass(slots=True)
class Story:
    """Prints each step, and keeps the expectations that failed."""

    console: Console
    failures: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False)

    def check(self, text: str, *, holds: bool) -> None:
        """Print a measurement and its verdict."""
        self.say(f"   {'[green]✓[/]' if holds else '[red]✗[/]'} {text}")
        if not holds:
            self.failures.append(text)
