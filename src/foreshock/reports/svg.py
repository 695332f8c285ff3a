"""SVG as escaped text: no value of a history becomes markup."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from foreshock.reports.operation_text import presentable, spelled_out

_NOTHING = Markup("")


def _attribute(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return spelled_out(value) if isinstance(value, str) else str(value)


def _content(child: str | Markup) -> str:
    return str(child) if isinstance(child, Markup) else str(escape(presentable(child)))


def element(name: str, *children: str | Markup, **attributes: object) -> Markup:
    """One element. ``class_`` means ``class``, other underscores are hyphens; an attribute of ``None`` is left out."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None:
            written = "viewBox" if key == "view_box" else key.rstrip("_").replace("_", "-")
            parts.append(f' {written}="{escape(_attribute(value))}"')
    if not children:
        return Markup("".join((*parts, "/>")))
    return Markup("".join((*parts, ">", *map(_content, children), f"</{name}>")))


def join(parts: Iterable[Markup]) -> Markup:
    """Elements one after the other."""
    return _NOTHING.join(parts)


def text(content: str, x: float, y: float, class_: str = "", *, anchor: str | None = None) -> Markup:
    """A line of text."""
    return element("text", content, x=x, y=y, class_=class_ or None, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def figure(
    name: str,
    width: float,
    height: float,
    *,
    title: str,
    description: str,
    body: Iterable[Markup],
    stretches: bool = False,
) -> Markup:
    """A whole drawing, named and described for people who do not see it; ``name`` must be unique in the page.

    One that stretches has no text and fills whatever place it is given.
    """
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        join(body),
        view_box=f"0 0 {_attribute(float(width))} {_attribute(float(height))}",
        preserveAspectRatio="none" if stretches else None,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_=f"figure {name}",
        style=f"--figure-width:{width:.0f}px",
    )


def path(points: Iterable[tuple[float, float] | None]) -> str:
    """The ``d`` of a broken line; ``None`` lifts the pen."""
    commands: list[str] = []
    pen = "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        commands.append(f"{pen}{_attribute(float(point[0]))} {_attribute(float(point[1]))}")
        pen = "L"
    return "".join(commands)


def step_area(edges: list[float], low: list[float], high: list[float]) -> str:
    """The ``d`` of a stepped band: bucket ``i`` spans ``edges[i]`` to ``edges[i + 1]`` between two heights."""
    if not high:
        return ""
    upper = [f"M{edges[0]:.1f} {high[0]:.1f}H{edges[1]:.1f}"]
    upper += [f"V{high[i]:.1f}H{edges[i + 1]:.1f}" for i in range(1, len(high))]
    lower = [f"V{low[i]:.1f}H{edges[i]:.1f}" for i in range(len(low) - 1, -1, -1)]
    return "".join((*upper, *lower, "Z"))
