"""One picture of a benchmark: bars of the medians by case and server, as a file that any browser and README shows."""

from html import escape

from .results import Results, number

COLOURS = ("#0b7285", "#adb5bd", "#dee2e6", "#868e96")
LEFT, WIDE, BAR, GAP = 210, 430, 14, 12


def bars(results: Results, figure: str, title: str) -> str | None:
    """An SVG of this figure's medians; none when no case has it."""
    cases = [(case.name, medians) for case in results.bench.cases
             if (medians := {server: spread.median for server in results.servers if (spread := results.spread(case.name, server, figure))})]
    if not cases:
        return None
    most = max(value for _, medians in cases for value in medians.values())
    drawn, top = [], 52
    for name, medians in cases:
        drawn.append(f'<text x="{LEFT - 10}" y="{top + len(medians) * BAR / 2 + 4:.0f}" text-anchor="end">{escape(name)}</text>')
        for server, value in medians.items():
            colour = COLOURS[results.servers.index(server) % len(COLOURS)]
            width = max(1, value / most * WIDE)
            drawn.append(f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>'
                         f'<text x="{LEFT + width + 6:.1f}" y="{top + BAR - 4}">{number(value)}</text>')
            top += BAR
        top += GAP
    legend = "".join(f'<rect x="{LEFT + at * 110}" y="28" width="10" height="10" fill="{COLOURS[at % len(COLOURS)]}"/>'
                     f'<text x="{LEFT + at * 110 + 15}" y="37">{escape(server)}</text>' for at, server in enumerate(results.servers))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + 70}" height="{top}" font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="#fff"/><text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>'
            f"{legend}{''.join(drawn)}</svg>\n")
