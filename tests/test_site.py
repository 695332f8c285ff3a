"""The pages as a site: they build without a warning, and what they link to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 240


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "-d"]
    built = subprocess.run(
        [*command, str(out / "cache"), "--builder", "html", str(ROOT / "docs"), str(out / "pages")],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return out / "pages"


def test_every_page_is_built(site: Path) -> None:
    sources = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert [
        page for page in sources - {Path("README")} if not (site / page).with_suffix(".html").is_file()
    ] == []


def test_what_the_pages_link_to_is_there(site: Path) -> None:
    lost = []
    for page in site.rglob("*.html"):
        text = page.read_text()
        for link in re.findall(r'(?:href|src)="([^"#?]+)(?:[#?][^"]*)?"', text):
            if "://" not in link and not link.startswith(("data:", "mailto:")):
                lost += [f"{page.name}: {link}"] if not (page.parent / unquote(link)).exists() else []
    assert lost == []


def test_the_reference_tells_of_every_command_and_every_public_name(site: Path) -> None:
    from foreshock import harness
    from foreshock.harness.cli.group import COMMANDS

    commands = (site / "reference" / "commands.html").read_text()
    assert [name for name in COMMANDS if f'id="foreshock-{name}"' not in commands] == []
    names = (site / "reference" / "plug-in-api.html").read_text()
    assert [name for name in harness.__all__ if not re.search(rf"\b{name}\b", names)] == []
