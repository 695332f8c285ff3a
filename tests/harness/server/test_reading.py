"""What the server shows: lists, reports, files; and what it does not: whatever lies outside of the store."""

from __future__ import annotations

import json
import os
import re
from html import unescape
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from tests.harness.server import stores
from tests.harness.server.conftest import HOSTILE_NAME, SECRET
from tests.harness.server.serving import Serving

from foreshock.harness.backends.process_identity import identify
from foreshock.harness.campaign.document import JOURNAL
from foreshock.harness.campaign.journal import Line
from foreshock.harness.server.folder_pages import campaign_view

VALID = "/store/raft-register-kill/20260101T100000-000001/"
HOSTILE = f"{quote(HOSTILE_NAME, safe='')}/20260101T110000-000002/"


def rows(page: str) -> list[str]:
    table = page[page.index('<table class="runs"') :]
    return re.findall(r"<tr><td.*?</tr>", table[: table.index("</table>")], re.DOTALL)


def test_runs_are_listed_newest_first_a_page_at_a_time(server: Serving) -> None:
    first = server.get("/").text
    assert "124 runs" in first
    assert "running" in rows(first)[0] or "killed" in rows(first)[0]
    assert len(rows(first)) == 50
    seen = [unescape(link) for link in re.findall(r'class="row" href="(/store/[^"]+)"', first)]
    later = unescape(re.findall(r'rel="next" href="([^"]+)"', first)[0])
    second = server.get(later).text
    assert "51 to 100 of 124" in second
    older = re.findall(r'class="row" href="(/store/[^"]+)"', second[second.index('class="runs"') :])
    assert len(older) == 50
    assert not set(older) & set(seen)


def test_runs_are_filtered_by_verdict_target_and_text(server: Serving) -> None:
    invalid = server.get("/?verdict=invalid&target=raft").text
    assert len(rows(invalid)) == 31  # thirty of the plain ones, and the hostile one
    assert all('chip invalid"' in row for row in rows(invalid))
    only = server.get("/?text=20260101t000117+PAXOS").text
    assert len(rows(only)) == 1
    assert "paxos" in rows(only)[0]
    assert "No run matches" in server.get("/?text=nothing-of-the-kind").text
    assert len(rows(server.get("/?verdict=killed").text)) == 1


@pytest.mark.parametrize("query", ["page=0", "page=x", "page=99999999", "verdict=good", "a=1&" * 20])
def test_a_query_that_cannot_be_meant_is_refused(server: Serving, query: str) -> None:
    assert server.get(f"/?{query}").status == 400


def test_a_running_test_a_killed_one_and_a_campaign_are_told_as_such(server: Serving) -> None:
    page = server.get("/").text
    running = page[page.index("Running now") : page.index('id="campaigns-title"')]
    assert "running register for 60 s" in running
    assert "kill n3 (2 s)" in running
    assert "3 of 10" in page
    assert "its harness is gone" in page


def test_a_finished_run_is_its_report_and_the_reports_links_hold(server: Serving) -> None:
    page = server.get(VALID)
    assert "all 5 keys are linearizable" in page.text
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    links = {
        unescape(link) for link in re.findall(r'href="(nodes/[^"]+|history[^"]+|[a-z]+\.json)"', page.text)
    }
    assert links
    for link in links:
        assert server.get(VALID + link).status == 200


def test_a_folder_is_asked_for_with_a_slash_at_its_end(server: Serving) -> None:
    for area in ("store", "files", "live"):
        answer = server.get(VALID[:-1].replace("/store/", f"/{area}/"))
        assert (answer.status, answer.headers["Location"]) == (302, VALID.replace("/store/", f"/{area}/"))


def test_latest_leads_to_the_newest_run_and_its_files(server: Serving) -> None:
    assert server.get("/store/latest").headers["Location"] == VALID
    assert server.get("/store/latest/test.json").headers["Location"] == f"{VALID}test.json"


def test_files_are_text_or_are_saved_and_never_pages(server: Serving) -> None:
    for name in ("test.json", "history.jsonl", "page.html", "faults.jsonl"):
        answer = server.get(VALID + name)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8", name
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    saved = server.get(f"{VALID}history.parquet")
    assert saved.headers["Content-Type"] == "application/octet-stream"
    assert saved.headers["Content-Disposition"] == "attachment; filename*=UTF-8''history.parquet"


def test_a_stored_report_runs_in_an_origin_of_its_own(server: Serving) -> None:
    for path in (VALID, f"{VALID}report.html"):
        policy = server.get(path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "sandbox allow-scripts" in policy
        assert "allow-same-origin" not in policy
        assert "connect-src" not in policy


def test_every_answer_has_the_strict_headers(server: Serving) -> None:
    for path in (
        "/",
        VALID,
        f"{VALID}test.json",
        "/nowhere",
        "/campaigns/",
        f"/files{VALID[6:]}",
        "/store/latest",
    ):
        answer = server.get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Frame-Options"] == "DENY"
        if answer.status != 302:
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_our_own_pages_let_one_script_run_and_no_other(server: Serving) -> None:
    page = server.get("/campaigns/").text
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', unescape(page))
    (scripts,) = re.findall(r"script-src ([^;]+);", policy)
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", scripts)
    assert len(re.findall(r"<script\b", page)) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/store/../secret.txt",
        "/store/raft-register-kill/../../secret.txt",
        "/store/%2e%2e/secret.txt",
        "/store/%2E./secret.txt",
        "/store/..%2fsecret.txt",
        "/store/..%2Fsecret.txt",
        "/store/%2e%2e%2fsecret.txt",
        "/store/..%5csecret.txt",
        "/store/..%00/secret.txt",
        "/store/secret.txt%00",
        "/store//etc/passwd",
        "/store/%2fetc/passwd",
        "/store///",
        "//etc/passwd",
        "/../secret.txt",
        "/files/../",
        "/files/%2e%2e/",
        "/live/../",
        "/events/..%2f",
        "/store/latest/../../../secret.txt",
        "/store/latest/%2e%2e/%2e%2e/%2e%2e/secret.txt",
        "/store/linked/secret.txt",
        "/files/linked/",
        f"/store/{HOSTILE}out/secret.txt",
        f"/files/{HOSTILE}out/",
        f"/store/{HOSTILE}file-out.log",
        f"/store/{HOSTILE}inside.log",
        "/store/../store2/secret.txt",
        "/store/%c0%ae%c0%ae/secret.txt",
        "/store/%25%32%65%25%32%65/secret.txt",
        "/store/" + "%2e%2e/" * 40 + "etc/passwd",
        "/store/" + "a/" * 5000,
        "/store/" + "a" * 5000,
        "/store/%zz",
        "/store/%",
        "/secret.txt",
    ],
)  # fmt: skip
def test_nothing_outside_of_the_store_is_reached(server: Serving, path: str) -> None:
    # The path goes out as it stands, which no library that tidies up addresses would do.
    answer = server.send(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1")
    )
    assert re.match(rb"HTTP/1.[01] 40[034] ", answer), answer[:100]
    assert SECRET.encode() not in answer
    assert b"root:" not in answer


def test_an_absolute_form_and_a_fragment_reach_nothing_more(server: Serving) -> None:
    for target in ("http://localhost/store/../secret.txt", "http://elsewhere/", "*", "localhost:80"):
        answer = server.send(
            f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer[9:12] in (b"400", b"403", b"404"), answer[:100]


def test_a_link_out_of_the_store_is_not_listed_either(server: Serving) -> None:
    page = server.get(f"/files/{HOSTILE}").text
    assert "file-out.log" not in page
    assert ">out" not in page
    assert "/store/linked" not in server.get("/").text


def test_latest_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "test.json").write_text("{}")
    latest = tmp_path / "store" / "latest"
    with Serving(tmp_path / "store") as server:
        assert server.get("/store/latest/").status == 404
        for target in ("../a", "/etc/ssl", "..", "a/../..", "../../a"):
            latest.unlink(missing_ok=True)
            latest.symlink_to(target)
            assert server.get("/store/latest/test.json").status == 403


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"]
)
def test_only_reading_is_allowed(server: Serving, store: Path, method: str) -> None:
    before = sorted(store.rglob("*"))
    data = f"{method} {VALID}test.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = server.send(data.encode())
    assert answer[9:12] in (b"405", b"400")
    assert b"raft" not in answer.partition(b"\r\n\r\n")[2]
    assert sorted(store.rglob("*")) == before


def test_head_says_what_get_would_and_sends_nothing(server: Serving) -> None:
    for path in ("/", VALID, f"{VALID}history.jsonl"):
        got, headed = server.get(path), server.get(path, method="HEAD")
        assert headed.status == got.status == 200
        assert headed.body == b""
        assert headed.headers["Content-Length"] == got.headers["Content-Length"] == str(len(got.body))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("localhost:80", 200), ("127.0.0.1", 200), ("127.0.0.1:9", 200), ("[::1]:80", 200),
        ("LOCALHOST.", 200), ("foreshock.localhost", 200), ("evil.example", 421), ("evil.example:8077", 421),
        ("127.0.0.1.evil.example", 421), ("localhost.evil.example", 421), ("192.168.1.5", 421), ("", 421),
    ],
)  # fmt: skip
def test_a_name_that_was_made_to_point_here_is_not_answered(server: Serving, host: str, status: int) -> None:
    answer = server.get("/", headers={"Host": host})
    assert answer.status == status
    assert ("raft" in answer.text) == (status == 200)


def test_other_sites_may_link_and_neither_embed_nor_fetch(server: Serving) -> None:
    asked = {("cross-site", "no-cors"): 403, ("cross-site", "cors"): 403, ("cross-site", "navigate"): 200}
    for (site, mode), status in {**asked, ("same-origin", "cors"): 200}.items():
        assert server.get("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}).status == status


def test_hostile_names_and_values_stay_text(server: Serving) -> None:
    for path in (
        "/?text=owned",
        f"/files/{HOSTILE}",
        f"/live/{HOSTILE}",
        "/?text=%3Cscript%3Ealert(1)%3C/script%3E&target=%22%3E%3Cimg%20src=x%3E",
    ):
        page = server.get(path)
        assert page.status == 200
        assert len(re.findall(r"<script>", page.text)) == 1, path  # our own
        assert "<img" not in page.text
    assert server.get(f"/store/{HOSTILE}{quote(HOSTILE_NAME, safe='')}").body == b"text"
    assert server.get(f"/store/{HOSTILE}").status == 200


def test_what_nobody_would_write_spoils_its_own_line_at_most(tmp_path: Path) -> None:
    extremes = {
        "duration_s": 1e308, "seed": -(2**63), "target": "t" * 90_000, "nemeses": ["n" * 999] * 99, "verdict": "<b>",
        "operations": {"ok": 2**63 - 1, "fail": -5}, "started": "9" * 5000, "exit": 99, "reason": "r" * 90_000,
    }  # fmt: skip
    for number, (name, value) in enumerate(extremes.items()):
        run = stores.quick_run(tmp_path, number)
        summary = json.loads((run / "summary.json").read_text())
        (run / "summary.json").write_text(json.dumps({**summary, name: value}))
    live = {
        "phase": "p" * 9999,
        "written": 1e308,
        "pid": -1,
        "snapshot": {
            **msgspec.to_builtins(stores.snapshot()),
            "elapsed_s": 1e308,
            "time_limit_s": 1e-308,
            "rate": -1e308,
            "p50_ms": 1e308,
        },
    }
    running = stores.running_run(tmp_path)
    known = json.loads((running / "live.json").read_text())
    (running / "live.json").write_text(json.dumps({**known, **live, "pid": known["pid"]}))
    folder = stores.campaign(tmp_path, seconds=1e308, planned=-1, done=2**62, summary="s" * 90_000)
    with Serving(tmp_path) as server:
        page = server.get("/")
        assert page.status == 200
        assert len(rows(page.text)) == len(extremes) + 1
        assert len(page.body) < 400_000
        assert server.get(f"/live/{running.parent.name}/{running.name}/").status == 200
        assert server.get(f"/store/{folder.relative_to(tmp_path)}/").status == 200


def test_a_campaign_that_is_under_way_has_a_page(server: Serving) -> None:
    page = server.get("/store/campaigns/nightly/20260103T000000-bbbbbb/").text
    assert "3 of 10" in page
    assert "nightly" in server.get("/campaigns/").text


def test_the_page_of_a_campaign_shows_the_tests_that_its_own_processes_run(tmp_path: Path) -> None:
    me = identify(os.getpid())
    assert me is not None
    mine = stores.campaign(tmp_path, name="mine")
    (mine / JOURNAL).write_bytes(msgspec.json.encode(Line(worker=me)) + b'\n{"worker":{"pid')
    others = stores.campaign(tmp_path, name="others")
    (others / JOURNAL).write_bytes(msgspec.json.encode(Line(worker=stores.DEAD)) + b"\n")
    none_yet = stores.campaign(tmp_path, name="none-yet")
    run = stores.running_run(tmp_path)
    for folder, shown in ((mine, True), (others, False), (none_yet, False)):
        view = campaign_view(tmp_path, ("campaigns", folder.parent.name, folder.name))
        assert view.state == "running"
        assert [line.folder for line in view.running] == [run.name] * shown
