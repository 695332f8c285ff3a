"""A reporter of one's own: the summary of a run, or of a campaign, as Markdown for a pull request or a chat.

::

    foreshock test --target raft --workload register --backend sim --reporter examples/markdown_reporter.py:Markdown
    foreshock report latest --reporter examples/markdown_reporter.py:Markdown
"""

from pathlib import Path

import foreshock
from foreshock.harness import Reporter

SIGNS = {"valid": "✅", "unknown": "❔", "invalid": "❌"}


class Markdown(Reporter):
    """Writes ``summary.md`` into the folder of the run or of the campaign."""

    name = "markdown"
    on_request = True

    def report(self, run: Path) -> Path | None:
        """One table of verdicts, and below it each failure with the command that runs it again."""
        tests = foreshock.load(run)
        lines = ["| | target | workload | nemeses | seed |", "|---|---|---|---|---|"]
        for test in tests.itertuples():
            sign = SIGNS.get(str(test.verdict), "⏳")
            lines.append(f"| {sign} | {test.target} | {test.workload} | {test.nemeses} | {test.seed} |")
        for test in tests[tests["verdict"] == "invalid"].itertuples():
            lines += ["", f"> {test.reason}", "", f"`{test.replay}`"]
        path = run / "summary.md"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path
