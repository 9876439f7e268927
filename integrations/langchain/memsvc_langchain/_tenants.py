"""Whose memory it is: one tenant, or whom the run of an agent or graph is for."""

from collections.abc import Mapping

from langgraph.runtime import get_runtime


def of_context(context: object, key: str) -> str:
    """Return the tenant that a run's context names. There is no other that would do in its place.

    Raises:
        ValueError: it names none.
    """
    value = context.get(key) if isinstance(context, Mapping) else getattr(context, key, None)
    if not isinstance(value, str) or not value:
        raise ValueError(f"tenant: the run's context has no {key}; give tenant=, or invoke with context={{{key!r}: …}}")
    return value


def of_run(key: str) -> str:
    """Return the tenant that the context of the run under way names.

    Raises:
        ValueError: it names none, or there is no run.
    """
    try:
        runtime = get_runtime()
    except RuntimeError:
        runtime = None
    return of_context(None if runtime is None else runtime.context, key)
