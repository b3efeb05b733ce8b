"""Forecasts: the size of a dry run's plan in words, and the time that it will take."""

from __future__ import annotations

from varsr.cli.console import messages
from varsr.jobs.estimate import Estimate
from varsr.jobs.pace import known_pace

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def say_estimate(estimate: Estimate, pace_key: str, model: str) -> None:
    """Say on standard error how much there is to do, and for how long."""
    if estimate.remote:
        messages.say(f"{counted(estimate.remote, 'image')} to fetch and upscale, of sizes that are not known yet.")
    if (estimate.remote or estimate.videos) and not estimate.images + estimate.unfit + estimate.larger:
        return
    about = "about " if estimate.sampled else ""
    text = f"{about}{counted(estimate.images, 'image')} to upscale"
    if estimate.images:
        text += f", from {_megapixels(estimate.megapixels)} to {_megapixels(estimate.result_megapixels)} megapixels"
    if estimate.larger:
        text += f"; {about}{estimate.larger:,} left out as larger"
    if estimate.unfit:
        text += f"; {about}{estimate.unfit:,} cannot be read or scaled so"
    messages.say(text[0].upper() + text[1:] + ".")
    if not estimate.images:
        return
    pace = known_pace(pace_key)
    if pace is None:
        messages.say(f"The time is known after a first run of {model} with these options on this machine.")
    else:
        messages.say(f"Time: about {in_time(pace * estimate.work)}, as fast as the last runs with these options.")


def in_time(seconds: float) -> str:
    """A length of time with the 2 units that matter: 40 s, 25 min, 3 h 10 min, 5 days 2 h."""
    if seconds < 2 * _MINUTE:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / _MINUTE)
    if minutes < _HOUR / _MINUTE:
        return f"{minutes} min"
    if seconds < 2 * _DAY:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / _HOUR)
    return f"{hours // 24} days {hours % 24} h"


def counted(number: int, noun: str) -> str:
    """A number of things: 1 image, 2,000 images."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _megapixels(number: float) -> str:
    return f"{number:.2g}" if number < 10 else f"{number:,.0f}"
